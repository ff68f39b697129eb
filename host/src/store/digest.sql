-- Schema 15: the digest of the whole that the server has stated with its first answer, as algorithm=hex. The 206 of a resumption
-- need not repeat it.
ALTER TABLE resume ADD COLUMN digest TEXT;
