-- Schema 11: where a download begins that asks for a range of its own: byte number in the resource.
ALTER TABLE resume ADD COLUMN first_byte INTEGER;
