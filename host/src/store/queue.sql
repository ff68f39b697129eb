-- Schema 6: cancel scopes, which form a tree by `/` in their names; settings of the home that commands change.
ALTER TABLE task ADD COLUMN scope TEXT;
UPDATE task SET scope = spec ->> 'sc' WHERE spec ->> 'sc' IS NOT NULL;
CREATE INDEX task_scope ON task (scope, status) WHERE scope IS NOT NULL;

-- Scopes that are cancelled: no task is added to them, nor to those below them.
CREATE TABLE scope (
  name TEXT PRIMARY KEY NOT NULL,
  at INTEGER NOT NULL                 -- when it was cancelled
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name TEXT PRIMARY KEY NOT NULL,
  content TEXT NOT NULL               -- JSON
) STRICT, WITHOUT ROWID;
