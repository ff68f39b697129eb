-- Schema 13: the time after which nothing is begun for a task any more; those that wait are found by it.
ALTER TABLE task ADD COLUMN not_after INTEGER;
UPDATE task SET not_after = spec ->> 'na' WHERE spec ->> 'na' IS NOT NULL;
CREATE INDEX task_expires ON task (not_after) WHERE not_after IS NOT NULL AND status IN (0, 6);
