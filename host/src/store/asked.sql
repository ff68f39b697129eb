-- Schema 2: which tasks a command at a terminal waits for. Killed before it could tell that one is complete, the same command
-- takes that for its own when it is repeated.
ALTER TABLE task ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
