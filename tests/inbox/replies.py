"""Replies and what they ask for: one text on each line. ``⏎`` is a line break.

Add a line where a text is read wrongly. ``stop``: an opt-out at once. ``review``: a person decides, and texts wait
meanwhile. ``""``: an ordinary reply.
"""

from __future__ import annotations

REPLIES: dict[tuple[str, str], str] = {
    ("en", "stop"): """
        don't bother me anymore
        Please stop bothering me
        STOP
        stop
        Stop.
        STOP!!!
        STOPALL
        STOP ALL
        Unsubscribe
        CANCEL
        End
        QUIT
        Revoke
        OPT-OUT
        opt out
        Remove
        unsub
        UNSUB
        S.T.O.P
        s t o p
        sto p
        stop 🛑
        Stop 😡😡
        ＳＴＯＰ
        ⓈⓉⓄⓅ
        "STOP"
        “Stop”
        STOP2END
        STOP to end
        STOP STOP STOP
        STOP UNSUBSCRIBE
        please stop
        Stop please
        PLS STOP
        Please STOP, thanks
        ok stop
        Hi, stop
        stop now
        Just stop
        Hello please unsubscribe, thank you
        STOP - Ana
        STOP – Ana Lopez
        Stop⏎Ana
        STOP⏎⏎Sent from my iPhone
        unsubscribe⏎Sent via Smartphone
        Unsubscribe⏎--⏎Ana Lopez⏎Acme Inc
        STOP 415-555-2671
        pls stop msging me
        pls remove my number from ur list
        Who gave you my number? Stop texting
        No more messages. Thanks
        I am opting out of these messages
        Please discontinue texting me
        stop texting me
        Stop texting
        STOP TEXTING ME!!!!
        please stop texting me!!
        Stop texting me please
        stop messaging me
        Stop contacting me
        quit texting me
        cease texting
        Stop sending me messages
        stop sending me these texts
        stop spamming me
        stop with the texts
        stop the texts
        stop all messages
        Stop texting this number
        Can you please stop texting me?
        Could you stop sending me these messages?
        Don't text me
        dont text me again
        Don’t text me anymore
        Do not text me.
        DO NOT TEXT
        Do not contact me
        do not message this number
        Do not contact me again, thank you
        never text me again
        don't send me any more texts
        No more texts
        no more messages please
        No more of these messages please
        No texts please
        I don't want these messages anymore
        I don't want any more texts
        i dont want to receive your messages
        I do not want to receive texts from you
        I no longer want to receive these texts
        I no longer wish to receive messages
        I don't want to get these text messages
        I want to stop receiving these texts
        I'd like to stop getting messages
        Take me off your list
        take me off this list please
        take my number off your list
        Remove me from your list
        remove me
        Please remove my number
        Remove my number from your list
        delete my number
        Please remove 415-555-2671 from your list
        get me off this list
        delete me from everything
        Unsubscribe me
        unsubscribe me please
        Please unsubscribe me from your list
        unsub me
        I want to unsubscribe
        I would like to unsubscribe
        opt me out
        Please opt me out of these messages
        I'd like to opt out
        I want to opt out
        opting out
        I revoke my consent
        I withdraw my consent
        cancel all messages
        cancel these texts
        Please add me to your do not call list
        I already paid. Stop texting me!
        Who is this? Don't text me again.
        STOPPPP
        no thank you stop
        No thanks, stop
        no stop
        please take me off this text list
        u can stop texting me now
        you can stop texting me
        You can stop texting me now, thanks
        I'd like to be taken off your list
        I want off this list
        cease and desist
        dont want these texts
        dont want your texts
        I revoke my consent to be texted
        I no longer consent to receive texts
        consent revoked
        stop plzzz
        pleeease stop
        🆂🆃🅾🅿
        Reply: STOP
        reply stop
        stoppp
        sotp texting me
        no. stop.
        No! Stop!
        No further contact
        no further messages please
        cease
        desist
        🅂🅃🄾🄿
        stoooop texting me
    """,
    ("en", "review"): """
        please stop over and over
        just stop by texting me
        please stop at the number
        please stop in the future
        No messages
        I never asked for this text
        that's enough, thank you
        tired of these texts
        stop it lol
        STOP IT
        stop that
        Stip
        Stpo
        Stopp
        sotp
        stp
        Atop
        unsuscribe
        Unsubscibe
        cancle
        Wrong #
        im not Mike, wrong number
        Please stop sending text messages to this number
        Stop it, that's so sweet 😂
        Did the alarm stop?
        Wrong number
        wrong person sorry
        You have the wrong number
        This is not her number
        She no longer has this number
        leave me alone
        please leave me alone
        lose my number
        not interested
        Not interested, thanks
        no more
        no more please
        go away
        Fuck off
        I never signed up for this
        I didn't sign up for this
        I'm blocking this number
        Reported as spam
        spam
        This is harassment
        My husband passed away last week
        Stop. I told you already
        Who is this? Stop!
        Stop, Ana
        STOP lol
        omg stop
        STOP Ana
        Ana: STOP
        how do i stop these
        How do I unsubscribe?
        stop texting me?
        Stop texting me at 6 in the morning
        can you stop texting me while I'm at work
        stop calling me
        please cancel
        Cancel - Ana
        CANCEL⏎Sent from my iPhone
        cancel please
        end this
        cancel my subscription
        I asked you to stop
        I already replied STOP
        I told you to stop twice
        How many times do I have to say stop
        this has to stop
        You need to stop
        if you don't stop I will sue
        don't text me, call me
        I unsubscribed last week
        I opted out of this
        No more reminders
        I dont want any notifications
        🛑
        🚫
        🖕
        🛑 to “Your order is ready.”
        Loved “Stop texting me”
        ‼️ to “STOP”
        > stop texting me
        what does "STOP" do
        I don't consent to being contacted
        enough
        TD
        remove from list
        I want to be taken off
        remove number
        plz stahp
        delete my data
        please delete all my data
        Delete my information
        GDPR erase my data
        erase my data
        I want you to delete my personal data
        wrong nmbr
        wrng number
        This isn't Dan's phone
        nobody by that name
        no one here by that name
        Cindy doesn't live here
        Cindy no longer works here
        this is not Mike's number anymore
        this number belongs to someone else now
        I just got this number
        i'm not the person you are looking for
        how do I make this stop
        how do I get off this list
        how can I get off your list
        i've had enough
        quit it
        quit it already
        knock it off
        cut it out
        give it a rest
        bug off
        f*ck off
        fck off
        fuk off
        stfu
        fuck u
        screw off
        go to hell
        eat shit
        I will sue you
        reported
        you're blocked
        this is a scam
        unwanted
        unwanted texts
        unsolicited
        I did not consent
        I never consented
        I never gave consent
        i never gave you permission
        you do not have permission to text me
        you don't have my permission
        not authorized to text me
        do not call
        don't call me
        do not call me again
        DNC
        do not disturb
        I am on the do not call list
        no longer interested
        uninterested
        forget my number
        forget me
        trash my number
        never again
        nomore
        no contact
        cancel subscription
        cancel alerts
        turn off
        turn off notifications
        turn off these texts
        turn these off
        turn off text alerts
        mute
        disable
        disable notifications
        deactivate
        discontinue
        terminate
        pause texts
        why do you keep texting me
        who is this stop texting me
        She died last month
        pleasestop
        stoptextingme
        please reply stop
        Loved 「Stop texting me」
    """,
    ("en", ""): """
        Hey are we still on for tomorrow?
        Can you stop by the office and drop off the keys
        we stopped using that product
        the AC stops working at night
        Quick question, when can I pick up?
        Can you end the call at 3?
        what time does it end
        I want to cancel my order #123
        cancel that
        I need to remove one item from my order
        remove the onions pls
        Text me when you're outside
        please text me before you come
        Don't call me, I'm at work. Text me
        No worries
        No problem
        I don't want to reschedule, 3pm is fine
        I got your message
        I didn't get the text
        Thanks for the reminder
        my number changed to 415 555 0101
        please update my number
        What number should I call?
        block party at 6
        Can you report the leak
        delete that last message
        He passed the inspection
        My stop is 5th and Main
        Drop me at the next stop please
        Is there a stop near your shop?
        The bus doesn't stop there anymore
        It stops raining at 4
        nonstop rain here
        She never stops talking lol
        Stop and shop on Main St
        Put a stop payment on check 104
        The stop sign is down
        We had to stop for gas
        Let's stop at the bakery
        We might stop in later
        I'd stop there for lunch
        The engine stopped again
        One-stop shop for us, thanks
        How many stops is the route?
        Pull over at the rest stop
        Full stop at the corner, then left
        The weekend can't come soon enough
        End of day is fine
        weekend
        Attend
        I'll attend
        The end date is wrong
        When is the end of my lease?
        at the end of the street
        Send it to the other address
        Please cancel Friday and book Monday
        Did you cancel it?
        They cancelled on me
        Can I cancel without a fee?
        What's your cancellation policy?
        I have to cancel :(
        Cancellation is fine
        quit early today
        My assistant quit
        Quite good
        Quiet please
        Never quit!
        Can you remove the old sofa?
        Removal on Tuesday works
        The stain was removed
        Remind me tomorrow
        Please remind me the day before
        information please
        How can I help?
        Help me move on Saturday?
        Starting now
        I'll start Monday
        The game starts at 7
        No, 4pm
        no, tomorrow
        Not today
        Not yet
        Nope
        never mind
        nvm
        Not sure
        I'm not home
        Don't worry about it
        Dont forget the receipt
        Don't send the driver before 8
        don't contact the tenant, contact me
        do not text him, he is asleep
        Please don't email it, text it
        I no longer need the loaner
        I do not want sugar
        I don't want any onions
        We don't want to miss it
        I dont need a ride
        Don't need it anymore, thanks
        I would like to opt for the larger one
        What are my options?
        optional
        Subscribe me to the newsletter
        How do I subscribe?
        Wrong day, sorry
        wrong link
        You sent the wrong part
        wrong address, it's 12 Oak
        The number on the house is wrong
        Right number, yes
        Lose the red one, keep the blue
        I lost my phone
        Leave the package with the neighbor
        We leave at 6
        Alone or with someone?
        Interested!
        Very interested, call me
        spam musubi for lunch
        Blocked drain in unit 4
        The road is blocked
        Report is ready
        My consent form is attached
        I consent to the treatment
        Sign up for Saturday please
        I signed up online
        👌
        🙏🙏 thank you
        ❤️
        5
        A
        Y
        N
        C to confirm
        Confirm
        Confirmed
        On my way!
        OMW
        lol
        haha stop sign selfie
        Liked “See you at 5”
        Loved “Thanks for your order!”
        😂 to “We can't stop making cookies”
        ❤️ to “Reply STOP to end, HELP for help”
        Emphasized an image
        Liked a photo
        It won't stop beeping, can you send someone
        Cancel please, I found another time
        Please don't send the truck until 9
        arrêtez-vous chez moi?
        Don't bother
        don't bother coming
        Take me home
        Get me one too
        Drop me off at 5
        Drop me at the next stop please
        I don't need a receipt
        ok
        Thanks!
        Yes please
        No
        no thanks
        see you at the bus stop
        The driver didn't stop at my house
        will the bus stop here
        My water heater won't stop leaking
        Please have him stop at the gate
        I'll be there, just need to make one stop first
        I'm not interested in the blue one, do you have red?
        I have not received any messages from you
        I do not want the extended warranty
        Leave it at the door
        Sorry wrong chat
        I'll stop by tomorrow
        stop by at 5
        Can I stop by at 5?
        can I stop in at 5?
        I can stop over after work
        We will stop at the store first
        I can't stop laughing
        can't stop won't stop
        don't stop believing
        Please don't stop texting me, I love these
        I wont stop until it works
        non-stop flight?
        nonstop
        Is it a one stop shop?
        It's the last stop
        take the exit, then the second stop
        which stop?
        Next stop: Boston
        a quick stop
        I ran a stop sign
        STOPLIGHT
        stopped by, nobody there
        The rain stopped
        He stops by every day
        pit stop in 10
        Truck stop on I-80
        stop and get milk
        When does it end?
        how do I cancel my appointment?
        cancel my 3pm
        Cancel my appointment please
        I need to cancel tomorrow
        we need to cancel tomorrow
        Cancel? No, I want to keep it
        Can you cancel my order
        cancel the second one
        Please cancel my reservation for Friday
        the end
        end of the month works
        Two more left. End of story
        By the end of the day
        I quit my job lol
        I quit smoking!
        please remove the dent
        Remove, then sand
        Remove the old tiles too
        How do I remove the stain?
        no more parking there
        the light went away
        I need help with my order
        What info do you need?
        start time?
        when do we start
        Don't forget to text me
        Don't hesitate to contact me
        text me when ready
        text me later
        don't text the driver
        Dont call, text me
        do not send it to the old address
        Don't send the invoice yet
        please don't send it until Monday
        Don't message her, message me
        Is this the right number?
        What's wrong?
        Something is wrong with the lock
        nothing wrong
        You got my order wrong
        I don't want the blue one
        i dont want to be late
        I want to return these
        take me to the airport
        I'm on my way
        Running late, 10 min
        Who is this?
        What is this about?
        👍
        👍👍
        🙏
        😂😂😂
        ✋ here
        top
        shop
        Step 2
        tops
        100
        1
        C
        I have the wrong size
        The delivery was great, I can not recommend you enough
        Sounds good. See you then. Ana
        Great, thanks⏎⏎Sent from my iPhone
        Ok - Ana
        👍 to “Your order is ready. Reply STOP to opt out.”
        👍​ to “ Your order is ready. Reply STOP to opt out. ”
        ❤️ to "Your order is ready. Reply STOP to opt out."
        👎 to “Sale! Reply STOP to opt out.”
        Loved “Your order is ready. Reply STOP to opt out.”
        Liked “Acme: see you at 5. Text STOP to end”
        Disliked “Your bill is due. Reply STOP to unsubscribe”
        Laughed at “We can't stop! Reply STOP to opt out”
        Emphasized “Your appointment is at 3. Reply C to confirm. Reply STOP to stop receiving messages.”
        Questioned “Your order is ready. Txt STOP 2 quit”
        Removed a heart from “Your order is ready. Reply STOP to opt out.”
        Removed a like from “Your order is ready. Reply STOP to opt out.”
        Reacted 😂 to “Your order is ready. Reply STOP to opt out.”
        Loved “Your order is ready. Reply STOP to o
        Loved “He wrote "Reply STOP" to you. STOP to end”
        Loved an image
        👍 removed from “Your order is ready. Reply STOP to opt out.”
        "Reply STOP to opt out"
        Your text says "Reply STOP to opt out", what for?
        What does “Text STOP to end” mean
        Thanks!⏎> Your order is ready. Reply STOP to opt out.
        ok⏎On Tue, Mar 3, 2026 at 5:00 PM Acme <a@b.co> wrote:⏎> Reply STOP to unsubscribe
        Great⏎⏎On Mon, Mar 2, 2026, Acme wrote:⏎Your order. Reply STOP to opt out.
        See you⏎-----Original Message-----⏎From: Acme⏎Reply STOP to opt out
        Sure⏎From: Acme⏎Sent: Monday⏎Unsubscribe here
        Stop sign on Main
        I'll be at the bus stop
        can you stop at the store
        Stop in anytime
        one more stop then home
        stopping by at 5
        I stopped by
        Stopped at Starbucks
        We stop serving at 9?
        does the 5 bus stop here
        stop light is out
        is there a stop fee
        short stop
        Last stop for the day
        stop watch
        the leak won't stop
        it wont stop ringing
        the pain doesn't stop
        my dog won't stop barking
        Please stop by tomorrow
        please stop at the front desk
        please stop in before 5
        Yes please cancel the Tuesday one
        cancel my order
        cancel order 1234
        please cancel my appt
        please cancel my appointment for tomorrow
        I want to cancel my appointment
        can we cancel tomorrow
        Cancel tomorrow's appointment
        need to cancel
        I have to cancel my 3pm
        Do I need to cancel
        Cancel the onions
        end of day
        what's the end date
        when does the sale end
        weekend works
        the end of June
        I quit drinking
        remove the sofa please
        remove item 2
        please remove the extra charge
        please remove the old one
        opt for blue
        info on pricing
        I don't want to cancel
        Don't cancel
        do not cancel my order
        Please don't cancel
        not stopping
        no need to stop
        no stopping there
        Don't stop
        I don't want fries
        do not need a receipt
        don't send a receipt
        don't call before 9
        Don't call, text
        please don't call, just text
        you can text me anytime
        text me back
        message me later
        I got the wrong order
        wrong size
        wrong item sent
        Wrong time, I said 4
        wrong date
        wrong color
        this number works
        my new number is 415-555-2671
        this is my new number
        new phone who dis
        who is this
        I'm dead 😂
        that's sick
        leave it at the door
        leave the package
        leave it alone for now
        let me be clear
        no more than 2
        no more questions
        no more sauce please
        I'm blocked in traffic
        block 5
        spam folder?
        it went to spam
        check your spam
        report attached
        Enough for two
        That's enough time
        enough parking?
        I'm done at 5
        done
        I'm done with the form
        pause button
        mute the call please
        turn off the water
        turn off Main onto Oak
        I can't turn off the alarm
        terminate the old contract
        disable the alarm code 1234
        withdraw $500
        Discontinued item?
        Out of office until Monday. Reply STOP to opt out
        I am driving with Do Not Disturb While Driving turned on. I'll see your message when I get where I'm going.
        I’m driving right now - Sent from My Car
        I'm not receiving notifications
        Auto-reply: I'm away. For urgent matters call 415-555-2671
        Thanks for contacting Acme! Reply STOP to unsubscribe, HELP for help.
        Msg & data rates may apply. Reply STOP to cancel.
        Your code is 123456. Reply STOP to opt out
        You have successfully been subscribed. Reply STOP to stop.
        Hi! We got your text. Text STOP to end, HELP for info.
        call me when you stop at the gate
        yes please
        nah
        2
        ok thx
        R
        CONFIRM
        confirmed
        RESCHEDULE
        Can I reschedule
        sorry I missed you
        not now
        not yet
        later
        haha
        k
        Loved 「Wrong number? Reply STOP.」
        sooo good
        Sue, you ready?
        how do I get off at 5th street?
        Don't forget me
        This is not a problem
    """,
    ("es", "stop"): """
        PARAR
        Pare
        ALTO
        baja
        CANCELAR
        Salir
        Detener
        desuscribir
        STOP por favor
        stop, gracias
        Por favor stop
        darme de baja
        Quiero darme de baja
        denme de baja por favor
        No me manden más mensajes
        no me manden mas mensajes
        No me envíen más mensajes por favor
        no me escriban mas
        No me escriba más
        ya no me manden mensajes
        Ya no me escriban
        por favor no me texteen
        No me contacten más
        Dejen de enviarme mensajes
        deje de mandarme mensajes
        Dejen de molestarme
        deja de escribirme
        paren de mandarme mensajes
        No quiero más mensajes
        no quiero recibir mensajes
        No quiero recibir más mensajes de ustedes
        Ya no quiero recibir estos mensajes
        no deseo recibir mensajes
        No más mensajes
        no mas mensajes
        Quítenme de la lista
        quitenme de su lista
        Bórrenme de su lista
        eliminen mi número de su lista
        sáquenme de la lista
        cancelen los mensajes
        Revoco mi consentimiento
        ¿Podrían dejar de enviarme mensajes?
        darse de baja
        Den de baja mi número
        dar de baja mi numero
        ya no manden mensajes
        no mandar mensajes
        no enviar mensajes
        Parar mensajes
        Detener mensajes
    """,
    ("es", "review"): """
        no me mande
        equivocado de numero
        Número equivocado
        numero equivocado
        Se equivocó de número
        persona equivocada
        déjeme en paz
        dejenme en paz
        No me interesa
        no estoy interesado
        basta
        ya basta
        no más
        cancelar por favor
        alto por favor
        ¿Cómo me doy de baja de esto?
        quiero cancelar la suscripción
        los voy a bloquear
        Vete a la mierda
        no me manden mensajes tan temprano
        Ya no es su número
        Ya les dije STOP
        👍 a “No me manden más mensajes”
        No me llegue más mensajes
        no molesten mas
        Cancelar suscripción
        Para los mensajes
        ya párenle
        Ya párele
        no me estén molestando
        dejen de chingar
        dejen de joder
        no me jodan
        no chinguen
        a la verga
        chinguen su madre
        como cancelo esto
        cómo dejo de recibir estos mensajes
        como le hago para que no me lleguen mensajes
        no soy la persona
        No soy esa persona
        nùmero equibocado
        Te equivocaste de número
        aquí no vive Juan
        este numero ya no es de Juan
        yo no soy
        no autoricé estos mensajes
        no autorizo
        no di mi consentimiento
        yo no me suscribí
        nunca me suscribí
        no me he suscrito
        reportado
        los voy a demandar
        es spam
        esto es spam
        esto es acoso
        falleció
        ya falleció
        mi esposo falleció
        murió
        no interesado
        no llamar
        no me llamen
        no me llame más
        no llamen más
        borrar mi número
        desactivar
        desactivar mensajes
        anular
        anular suscripción
        cancelen todo
        cancela esto
        desuscribete
        Parenle
        ya estuvo
        suficiente
        no jodas
    """,
    ("es", ""): """
        No lo quiero
        no puedo hoy
        Donde es la parada
        puede parar aqui
        no pare en la esquina
        Cuando termina?
        ¿A qué hora salen?
        Salgo a las 5
        No salgo hasta las 6
        Mi baja médica es hasta el lunes
        baja en la próxima
        bajo en un minuto
        alto voltaje
        ¿Puedo cambiar la cita?
        No, mañana mejor
        no gracias
        No hay problema
        no se preocupe
        Mensaje recibido
        no recibí el mensaje
        mándeme un mensaje
        mande el recibo por favor
        Envíenme la dirección
        Quiero dos
        quiero recibir el paquete el lunes
        ¿Es el número correcto?
        mi número cambió
        Déjelo en la puerta
        Me interesa
        Basta con uno
        Le encantó una imagen
        Deje su mensaje
        no me mande el recibo
        Gracias
        Sí
        ok gracias
        la parada del autobús
        Nos vemos en la parada
        Voy a parar en la tienda
        es muy alto
        El precio es más alto
        mi esposa está de baja
        la planta baja
        quiero cancelar mi cita
        cancelar mi cita de las 3
        ¿Puedo cancelar mañana?
        tengo que salir a las 5
        voy a salir tarde
        no me manden el pedido todavía
        No me envíen la factura a la casa
        no quiero el azul
        ya no quiero el pedido
        para mañana
        Para las 5 está bien
        más tarde
        no más tarde de las 5
        no puedo parar de reír
        ¿cuándo empieza?
        Le encantó “Su pedido está listo. Responda STOP para cancelar.”
        Le gustó “Su pedido está listo. Responda STOP para cancelar.”
        No le gustó “Su cita es mañana. Responda ALTO para no recibir más mensajes.”
        Se rió de “Su pedido está listo. Responda STOP para cancelar.”
        Enfatizó “Responda BAJA para cancelar”
        Ha reaccionado con 👍 a “Responda STOP para salir”
        👍 a «Su pedido está listo. Responda STOP para cancelar.»
        Quitó un corazón de “Responda STOP para salir”
        Gracias⏎El mar, 3 mar 2026 a las 17:00, Acme escribió:⏎> Responda STOP para cancelar
        Ok, nos vemos⏎Enviado desde mi iPhone
        Gracias, nos vemos en la parada
        ¿Puedo parar en su tienda?
        ¿El camión para ahí?
        para las 3
        para el lunes
        Para mi hijo
        alto ahí jaja
        muy alto el precio
        la planta baja por favor
        voy bajando
        baje el precio
        mi cita es en baja california
        ¿Puedo salir a las 5?
        salimos a las 3
        quiero cancelar mi pedido
        cancelar la cita
        Necesito cancelar
        necesito cancelar mi cita de mañana
        no puedo ir
        no quiero cebolla
        no quiero ese
        no me mandaron el recibo
        no me llegó el mensaje
        No me ha llegado nada
        mándeme más información
        mande más fotos
        mas mensajes
        basta con eso
        suficiente espacio
        deje el paquete en la puerta
        déjeme saber
        Dejenme pensar
        ya no quiero el azul
        ya no tengo el coche
        ya no, gracias por todo
        Número de orden 55
        mi número es 415-555-2671
        no sé
        no soy alérgico
        terminar a las 5
        ¿a qué hora terminan?
        el fin de semana
        fin de semana está bien
    """,
    ("fr", "stop"): """
        ARRET
        Arrêt
        ARRÊT SVP
        arrêtez
        arrêtez svp
        Désabonner
        désabonnement
        désinscription
        STOP SMS
        stop svp
        Stop merci
        Fin
        Annuler
        Arrêtez de m'envoyer des messages
        arrete de m’écrire
        arrêtez de me texter svp
        Arrêtez les textos
        arrêtez vos messages
        Cessez de m'envoyer des textos
        veuillez cesser de me contacter
        Merci de ne plus m'envoyer de messages
        Merci de ne plus me contacter
        Ne m'envoyez plus de messages
        ne m'écrivez plus
        Ne me textez plus
        Ne me contactez plus svp
        N'envoyez plus de messages
        Je ne veux plus recevoir de messages
        je ne veux plus de vos textos
        je veux plus de vos messages
        Je ne souhaite plus recevoir vos SMS
        Je ne veux pas recevoir ces messages
        Désabonnez-moi
        désabonnez moi svp
        Désinscrivez-moi de votre liste
        Je veux me désabonner
        je me désabonne
        Retirez-moi de votre liste
        Enlevez mon numéro de votre liste
        Supprimez mon numéro
        Je retire mon consentement
        Pouvez-vous arrêter de m'envoyer des messages ?
        stop aux sms
        STOP AUX MESSAGES
        arrete de m envoyer des messages
        Ne m'envoyez plus rien
        Ne plus recevoir de messages
        ne plus recevoir de sms
        supprimez mon numéro de vos fichiers
    """,
    ("fr", "review"): """
        Mauvais numéro
        mauvais numero desole
        Vous vous trompez de numéro
        mauvaise personne
        laissez-moi tranquille
        Pas intéressé
        pas intéressée merci
        ça suffit
        assez
        arrête ça
        fin svp
        plus de messages
        Foutez-moi la paix
        Je vous bloque
        Ce n'est plus son numéro
        Comment me désabonner de ça ?
        j'ai dit STOP
        arrêtez de m'envoyer des messages à 6h du matin
        A aimé « Arrêtez de m'envoyer des messages »
        Arrett SVP Ana
        arrêtez de m'appeler
        arrêtez votre harcèlement
        c'est du harcèlement
        c'est du spam
        harcèlement
        ce n'est pas le bon numéro
        ce n'est pas mon nom
        pas la bonne personne
        Erreur de destinataire
        je n'ai jamais donné mon accord
        je n'ai pas donné mon consentement
        je ne me suis jamais inscrit
        je n'ai rien demandé
        j'ai rien demandé
        comment on arrête ça
        plus intéressé
        je ne suis plus intéressée
        ta gueule
        vos gueules
        il est décédé
        elle est décédée
        mon mari est décédé
        il est mort
        je vais porter plainte
        signalé
        résilier
        Résiliation
        désactiver
        supprimez mes données
        RGPD
        effacez mes données
        stopez
        arête
        arrette
        pas de messages
        pas de sms
        plus rien recevoir
        ne rien recevoir
        je ne suis plus intéressé
    """,
    ("fr", ""): """
        Je ne peux pas demain
        je ne veux plus de sucre
        c'est la fin de semaine
        On arrête à quelle heure ?
        Je vais arrêter chez vous
        La fin du film était bien
        Annulez le deuxième svp
        Non merci
        Pas de souci
        Message reçu
        je n'ai pas reçu le message
        envoyez-moi l'adresse
        Textez-moi quand c'est prêt
        Je veux recevoir le colis lundi
        C'est le bon numéro
        mon numéro a changé
        Laissez-le à la porte
        Je suis intéressé
        Ça va
        D'accord, à demain
        A adoré une image
        Merci
        Oui
        d'accord
        à l'arrêt de bus
        Quel arrêt ?
        le prochain arrêt
        je m'arrête chez vous à 5h
        il n'arrête pas de pleuvoir
        sans arrêt
        je veux annuler mon rendez-vous
        Annuler mon rendez-vous de 15h
        à la fin du mois
        c'est la fin
        plus tard
        Plus de détails svp
        je ne veux plus le bleu
        ne m'envoyez pas la facture
        pas de problème
        mauvais numéro de commande
        On se voit demain
        A adoré « Votre commande est prête. Répondez STOP pour vous désabonner. »
        A aimé « Votre commande est prête. Répondez ARRET pour arrêter »
        N’a pas aimé « Répondez STOP pour vous désabonner »
        A ri de « Votre commande est prête. Répondez STOP pour vous désabonner. »
        A mis en évidence « Répondez STOP pour arrêter »
        A réagi avec 👍 à « Répondez STOP pour vous désabonner »
        👍 à « Votre commande est prête. Répondez STOP pour vous désabonner. »
        J’adore « Répondez STOP au 12345 »
        Merci⏎Le mar. 3 mars 2026 à 17:00, Acme a écrit :⏎> Répondez STOP pour vous désabonner
        D'accord⏎Envoyé de mon iPhone
        arrêt de bus
        je suis à l'arrêt
        à quel arrêt?
        arrêtez-vous à 5h?
        vous arrêtez à quelle heure
        on s'arrête en route
        je m'arrête demain
        la fin du mois
        à la fin
        fin de journée
        annuler le rdv
        je veux annuler ma commande
        peut-on annuler demain
        Plus tard svp
        plus de pain svp
        je ne veux plus de pain
        je ne veux pas de sauce
        pas de sauce svp
        pas demain
        il n'y a plus de place
        mauvaise adresse
        mauvaise taille
        mauvaise couleur
        envoyez-moi un message
        envoyez plus de détails
        ne m'appelez pas, textez
        mon numéro est le 514-555-2671
        laissez-moi savoir
        laissez-moi y penser
        assez bien
        assez grand?
        cessez le feu
        c'est assez
        je suis plus intéressé par le bleu
    """,
    ("pt", "stop"): """
        SAIR
        Parar
        PARE
        parem
        Cancelar
        Remover
        Descadastrar
        descadastre
        stop por favor
        Stop, obrigado
        Pare de me mandar mensagens
        pare de mandar mensagens
        parem de me enviar mensagens
        Para de me mandar mensagem
        parem de enviar SMS
        pare com essas mensagens
        Não me mande mais mensagens
        nao me mande mais mensagem
        Não me mandem mensagens
        Não me envie mais nada disso, não quero mensagens. Não me mande mais mensagens.
        não me escreva mais
        Não me contate mais
        não entre em contato. Não me envie mensagens
        Não quero mais receber mensagens
        não quero receber suas mensagens
        Não quero mensagens
        nao quero mais essas mensagens
        Chega de mensagens
        Me tire da lista
        me tira da sua lista
        tirem meu número da lista
        Remova meu número
        me remova da lista por favor
        me descadastre
        Quero me descadastrar
        quero sair da lista
        Cancelar mensagens
        Revogo meu consentimento
        Podem parar de me mandar mensagens?
        parar mensagens
        parar de receber
        Parar de receber mensagens
        Não quero mais receber
        não mande mais nada
        Não me mande mais nada
        descadastre meu número
    """,
    ("pt", "review"): """
        Número errado
        numero errado
        pessoa errada
        foi engano
        me deixe em paz
        Não tenho interesse
        não estou interessada
        chega
        basta
        pare com isso
        sair por favor
        quero cancelar a assinatura
        vou bloquear
        Vai se foder
        não me mande mensagens de madrugada
        Como faço para descadastrar?
        já disse pare
        Esse número não é mais dele
        Amou “Pare de me mandar mensagens”
        Cancelar envio
        cancelar inscrição
        Quero sair
        pare já
        não perturbe
        não me ligue mais
        não liguem mais
        é spam
        isso é spam
        isso é assédio
        não autorizei
        nunca autorizei
        não me cadastrei
        nunca me cadastrei
        não é o número da Cindy
        engano
        você errou o número
        errou de número
        faleceu
        meu marido faleceu
        ele morreu
        como cancelo isso
        como faço para parar de receber
        como paro de receber isso
        não tenho mais interesse
        não me interessa
        bloqueando
        vou processar
        denunciado
        LGPD
        apaguem meus dados
        exclua meus dados
        desativar
        desativar mensagens
        remover da lista
        remover meu número
        saia
    """,
    ("pt", ""): """
        não posso hoje
        Pode parar na frente
        não quero açúcar
        quero cancelar o pedido
        Sim, para as 3
        Não saio antes das 6
        O ônibus para aqui?
        Pare na esquina por favor
        Mensagem recebida
        não recebi a mensagem
        me mande o endereço
        Me manda uma foto
        Quero receber na segunda
        Esse número está certo
        meu número mudou
        Deixe na portaria
        Tenho interesse
        Chega às 5
        Sem problema
        Não, obrigado
        Amou uma imagem
        Deixe sua mensagem
        não mande mais pão
        Obrigado
        Sim
        ok
        vou sair às 5
        Preciso sair mais cedo
        ponto de parada
        vou parar no mercado
        não consigo parar de rir
        quero cancelar minha consulta
        cancelar minha consulta das 3
        para amanhã
        para mim está bom
        não me mande o boleto ainda
        não quero o azul
        mais tarde
        numero errado do pedido
        até o fim do mês
        remover a mancha
        Amou “Seu pedido está pronto. Responda SAIR para parar de receber.”
        Gostou de “Seu pedido está pronto. Responda SAIR para cancelar.”
        Não gostou de “Responda PARE para não receber mais mensagens”
        Riu de “Seu pedido está pronto. Responda SAIR para cancelar.”
        Enfatizou “Responda STOP para sair”
        Reagiu com 👍 a “Responda SAIR para cancelar”
        👍 para “Seu pedido está pronto. Responda SAIR para cancelar.”
        Obrigado⏎Em ter., 3 de mar. de 2026 às 17:00, Acme escreveu:⏎> Responda SAIR para cancelar
        Ok⏎Enviado do meu iPhone
        Pode parar ali
        o ônibus para na esquina
        para segunda
        para hoje
        parar no posto
        vou sair agora
        saio às 5
        posso sair mais cedo?
        sair de casa às 5
        pare na portaria
        não pare
        não para de chover
        não quero cancelar
        não quero cebola
        não quero esse
        não mande hoje
        não me mande foto
        preciso cancelar
        cancelar consulta
        remover a cebola
        remover mancha
        chega que horas
        chega amanhã?
        já chegou
        basta assinar?
        número do pedido 55
        sem cebola
        sem problemas
        me liga
        não me liga agora
        manda mensagem depois
        me tira uma dúvida
        me tire uma dúvida
        tira a cebola
        deixa na porta
        apague a luz
    """,
    ("any", "start"): """
        START
        start.
        UNSTOP
        unstop!
    """,
    ("any", "help"): """
        HELP
        Info?
        AIDE
        Ayuda
        ajuda
    """,
    ("any", "yes"): """
        YES
        Yes!
        yes 👍
    """,
}
ROWS = [
    (text.strip().replace("⏎", "\n"), language, expected)
    for (language, expected), texts in REPLIES.items()
    for text in texts.strip().splitlines()
]
