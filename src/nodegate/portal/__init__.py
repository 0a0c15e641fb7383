"""The registration page: owners add their own nodes, prove their mail address, and look after them.

- **registration**: one node that somebody wants to add, from the form to its end.
- **link**: a signed address in a mail; good once, for a while.
- **probation**: the time in which a new node's weight grows with what it has proven.
- **outbox**: mails that wait until the mail server takes them.
- **ban**: an e-mail address, a mail domain or a network that the operator does not want.

Strangers write here. So nothing is asked that is not of the public internet, nothing is believed that is not
signed, nothing is shown unescaped, and no answer tells whether an address is known.
"""
