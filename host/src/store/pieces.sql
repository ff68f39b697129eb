-- Schema 4: which bytes of a divided download are there: JSON, [first byte, last byte, next byte, durable to] for each piece.
ALTER TABLE resume ADD COLUMN pieces TEXT;
