"""Who signs in elsewhere: what an OpenID provider or a proxy says about a person."""
