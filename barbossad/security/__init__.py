"""Who may ask for what. May import the store and what is below it."""
