-- Schema 3: what is renamed to what stands in the task's own row, as JSON of codec.rs, while it is published: a table of its
-- own cost each file two more writes. One index instead of two finds a task's events and keeps its final one alone.
ALTER TABLE task ADD COLUMN publish TEXT;
UPDATE task SET publish = (
    SELECT json_object('p', part_name, 'n', final_name, 'v', dev, 'i', ino, 's', size, 'd', json(details))
    FROM publish WHERE publish.task = task.key
  ) WHERE publishing = 1;
DROP TABLE publish;
ALTER TABLE task DROP COLUMN publishing;

DROP INDEX event_final;
DROP INDEX event_task;
CREATE UNIQUE INDEX event_task ON event (task, run, iif(final = 1, 0, seq));
