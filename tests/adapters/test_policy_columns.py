"""Which names of fields look as if they said who may be texted. To add a case, add a name."""

from __future__ import annotations

import pytest

from crm_adapters.base import CrmField
from crm_adapters.policy_columns import PolicyColumn, is_about_texts, policy_column

NAMES: dict[PolicyColumn | None, str] = {
    PolicyColumn.DO_NOT_TEXT: """
        SMS Opt Out | sms_opt_out | smsOptOut | SMSOPTOUT | Opt-Out | opted_out | HasOptedOutOfSMS | optout |
        HASOPTEDOUTOFSMS | et4ae5__HasOptedOutOfMobile__c | Do Not Call | DoNotCall | DONOTCALL | DoNotText |
        do-not-text | donottext | Do Not Contact | npsp__Do_Not_Contact__c | donotphone | Don't text | dnc | DNC |
        DNC Flag | is_dnc | DNT | no_sms | NoSMS | NOTEXT | No calls | unsubscribed | Unsubscribed SMS |
        sms_unsubscribed_at | Opt Out Date | blacklisted | smsBlacklisted | Suppressed | Deceased | STOP SMS |
        Unsubscribed from text messages | marketing_opt_out | opted out of calls | Do Not Disturb |
        Nicht kontaktieren | Keine SMS | Werbesperre | Abgemeldet | Kontaktsperre | Ne pas contacter | Pas de SMS |
        Désabonné | Désinscrit SMS | No llamar | No contactar | Lista Robinson | Não ligar | nao_contatar |
        Descadastrado | Non contattare | Disiscritto | Niet bellen | Geen SMS
    """,
    PolicyColumn.CONSENT: """
        SMS Consent | sms_consent | smsConsent | SMSCONSENT | Consent | marketing_opt_in | Opt In | optin |
        SMS Opt-In | smsoptin | Opted In | Accepts Marketing | Accepts SMS Marketing | TCPA | tcpa_consent |
        TCPA Consent Status | GDPR Consent | DSGVO | RGPD | OK to text | SMS OK | can_text | sms_permission |
        SMS Allowed | subscribed | SMS Subscribed | marketingOptIn | Text Consent | text_opt_in__c | Einwilligung |
        Werbe-Einwilligung | Zustimmung SMS | Consentement | Accord SMS | Consentimiento SMS | Consentimento |
        Consenso Marketing | Toestemming | SMS toegestaan
    """,
    PolicyColumn.DELETED: """
        ISDELETED | IsDeleted | is_deleted | deleted | Deleted At | deleted_at | archived | Is Archived | Gelöscht |
        supprimé | eliminado | cancellato | verwijderd | date_deleted | Archived On | voided | removed_at | softDelete |
        gelöscht_am | trashed
    """,
    None: """
        Email | Email Opt Out | HasOptedOutOfEmail | HASOPTEDOUTOFFAX | Email Consent | Newsletter Opt In |
        DoNotMail | Unsubscribed from all email | donotemail | Cookie Consent | Accepted Terms | Fax Opt Out |
        Unsubscribe Link | opt_out_url | Opt Out Reason | Consent Date | sms_consent_at | consent_ip | Opted In On |
        consent_source | Consent ID | Consent to Treatment | Photo Consent | Number of opt outs | opt_out_count |
        First Name | Phone No | Contact No | Contact No. | Call Notes | Text | Message | SMS Number | Mobile |
        adopt_info | Adoption | Optical | Options | Option In Use | laptop_output | Dental Notes | Dunce | Status |
        Active | is_active | Notes | Context | Contact Owner | Last Contacted | Subscription | Subscriber ID | Stop |
        Stopover | Address | Tcpanel | Order Status | Deleted By | Undeleted | Encoded | Dntist | Consequence |
        Consentino | Contact | Call | Do | Not | Opt | Out | In | Notexture | 名前
    """,
}


@pytest.mark.parametrize(
    ("name", "kind"), [(name.strip(), kind) for kind, names in NAMES.items() for name in names.split("|")]
)
def test_a_name(name: str, kind: PolicyColumn | None) -> None:
    assert policy_column(CrmField(name)) is kind


def test_a_label_counts_where_the_name_says_nothing() -> None:
    assert policy_column(CrmField("x_studio_7", label="Do not text")) is PolicyColumn.DO_NOT_TEXT
    assert policy_column(CrmField("sms_opt_out", label="Feld 7")) is PolicyColumn.DO_NOT_TEXT


def test_a_time_of_consent_is_no_consent_and_a_time_of_an_opt_out_is_one() -> None:
    assert policy_column(CrmField("SMS Consent", type="datetime")) is None
    assert policy_column(CrmField("SMS Opt Out", type="datetime")) is PolicyColumn.DO_NOT_TEXT


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        (CrmField("SMS Opt Out"), True),
        (CrmField("DoNotCall"), True),
        (CrmField("f7", label="Text consent"), True),
        (CrmField("Do Not Contact"), False),
        (CrmField("unsubscribed"), False),
    ],
)
def test_fields_about_texts_come_first(field: CrmField, texts: bool) -> None:
    assert is_about_texts(field) is texts
