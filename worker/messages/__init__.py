"""Messages: requests, outbox, policy facts, states, delivery, opt-outs and reviews, and what is shown of them."""
