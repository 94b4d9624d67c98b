"""Names, formats and topics that other systems depend on; everything else imports from here."""
