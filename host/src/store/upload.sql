-- Schema 9: the upload that a server keeps open for a task, JSON of codec.rs, encrypted: whoever knows its URL may add to it.
ALTER TABLE task ADD COLUMN upload BLOB;
