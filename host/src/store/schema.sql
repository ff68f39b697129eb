-- Schema 1 of haul.db, whole. Times are milliseconds since 1970. Statuses are the numbers of task::Status:
-- 0 enqueued, 1 running, 2 complete, 3 notFound, 4 failed, 5 canceled, 6 waitingToRetry, 7 paused.
-- JSON is that of codec.rs. What is sealed is encrypted, each to its place (vault.rs).

PRAGMA application_id = 1751217516; -- "haul"

CREATE TABLE task (
  key INTEGER PRIMARY KEY,            -- given out by the writer, never twice
  task_id TEXT NOT NULL UNIQUE,
  status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 7),
  run INTEGER NOT NULL DEFAULT 1,     -- rises when a final task is queued again; one final event in each run
  priority INTEGER NOT NULL,
  created INTEGER NOT NULL,
  host TEXT NOT NULL,
  group_name TEXT NOT NULL,
  scope TEXT,                         -- cancel scope; scopes form a tree by `/` in their names
  url TEXT NOT NULL,
  allow_pause INTEGER NOT NULL,
  updates INTEGER NOT NULL,           -- what watchers get of it: 0 nothing, 1 its status, 2 progress, 3 both. As in `spec`, which
                                      -- not every change has to take apart for it
  ready_at INTEGER,                   -- NULL: now. Only enqueued and waitingToRetry tasks have one
  not_after INTEGER,                  -- nothing is begun for the task after this time
  attempt INTEGER NOT NULL DEFAULT 0,
  retries_remaining INTEGER NOT NULL,
  bytes_done INTEGER NOT NULL DEFAULT 0,
  expected_size INTEGER,
  ended_at INTEGER,                   -- of final tasks only
  closed INTEGER NOT NULL DEFAULT 0,  -- 1: complete (and told) or canceled: nothing goes on from it
  asked INTEGER NOT NULL DEFAULT 0,   -- 1: a command at a terminal waits for it. Killed before it could tell that the task is
                                      -- complete, the same command takes it for its own when it is repeated
  place BLOB,                         -- bytes of a path
  outcome TEXT,                       -- JSON: how the last attempt ended
  paused_by TEXT,                     -- of paused tasks only: the component that wanted it; NULL: somebody asked for it
  spec TEXT NOT NULL,                 -- JSON: what has no column of its own; secrets are masked
  sealed BLOB,                        -- JSON, sealed: what is masked elsewhere in the row; NULL: nothing is
  changes BLOB,                       -- JSON, sealed: what components have changed about the requests; new links carry signatures
  upload BLOB,                        -- JSON, sealed: the upload that a server keeps open; whoever knows its URL may add to it
  body BLOB                           -- of a request whose body is bytes
) STRICT;

-- The queue, whole and by host and group: in the order in which tasks start.
CREATE INDEX task_queue ON task (priority, created) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_part ON task (host, group_name, priority, created) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_due ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_expires ON task (not_after) WHERE not_after IS NOT NULL AND status IN (0, 6);
CREATE INDEX task_status ON task (status);
-- Most tasks are of the default group, which is found by status: an entry for each of them would only cost time.
CREATE INDEX task_group ON task (group_name, status) WHERE group_name <> 'default';
CREATE INDEX task_scope ON task (scope, status) WHERE scope IS NOT NULL;
CREATE INDEX task_ended ON task (ended_at) WHERE ended_at IS NOT NULL;
-- Only the beginning of the URL: neighbours stay neighbours (a hash would spread a batch over all pages) and a long
-- signed URL does not fill pages twice.
-- Tasks without a place are never the same as those of a `get`, which has one.
CREATE INDEX task_url ON task (substr(url, 1, 120)) WHERE closed = 0 AND place IS NOT NULL;

-- What a download can go on from.
CREATE TABLE resume (
  task INTEGER PRIMARY KEY REFERENCES task (key) ON DELETE CASCADE,
  part_name TEXT NOT NULL,
  part_dev INTEGER NOT NULL,
  part_ino INTEGER NOT NULL,
  part_born INTEGER NOT NULL DEFAULT 0, -- when the part file was made, in nanoseconds; 0: the file system does not say. A number
                                      -- of an inode is given again to the next file
  first_byte INTEGER,                 -- of the resource, where the task asks for a range of its own
  durable_bytes INTEGER NOT NULL,
  doubtful_from INTEGER,              -- bytes from here on were found at the end of the part file after a kill: perhaps not ours
  pieces TEXT,                        -- JSON, of a divided download: [first byte, last byte, next byte, durable to] of each piece
  boot_id TEXT NOT NULL,
  total_bytes INTEGER,
  etag TEXT,
  last_modified TEXT,
  date TEXT,
  digest TEXT,                        -- of the whole, algorithm=hex: the server stated it with its first answer
  ranges_known INTEGER NOT NULL,
  encoded INTEGER NOT NULL,
  final_name TEXT NOT NULL,
  final_url TEXT NOT NULL,
  answer TEXT                         -- JSON: [status, headers] of the answer that the bytes began with, secrets masked
) STRICT;

-- What is renamed to what, while it is: apart from the tasks, whose rows it would make three times as long for a moment.
CREATE TABLE publishing (
  task INTEGER PRIMARY KEY REFERENCES task (key) ON DELETE CASCADE,
  publish TEXT NOT NULL               -- JSON
) STRICT;

-- Uploads of cancelled tasks that servers may still keep, until somebody has asked for their end.
CREATE TABLE forsaken (
  task INTEGER PRIMARY KEY REFERENCES task (key) ON DELETE CASCADE,
  upload BLOB NOT NULL                -- as in `task`
) STRICT;

-- Id and group are repeated here because a final event may outlive its task.
CREATE TABLE event (
  seq INTEGER PRIMARY KEY,            -- given out by the writer, rising, never twice
  task INTEGER NOT NULL,
  run INTEGER NOT NULL,
  task_id TEXT NOT NULL,
  group_name TEXT NOT NULL,
  status INTEGER NOT NULL,
  at INTEGER NOT NULL,
  final INTEGER NOT NULL,             -- 1: status is final
  kept INTEGER NOT NULL DEFAULT 0,    -- 1: the task is forgotten, the event waits for a consumer
  details TEXT                        -- JSON
) STRICT;

-- One index finds a task's events and keeps its final one alone.
CREATE UNIQUE INDEX event_task ON event (task, run, iif(final = 1, 0, seq));
CREATE INDEX event_kept ON event (seq) WHERE kept = 1;

CREATE TABLE consumer (
  name TEXT PRIMARY KEY NOT NULL,
  position INTEGER NOT NULL           -- every event up to this one is acknowledged
) STRICT, WITHOUT ROWID;

-- 0 to 7: number of tasks in that status. 8: the last key given out. 9: the last seq given out.
CREATE TABLE counter (
  what INTEGER PRIMARY KEY,
  n INTEGER NOT NULL
) STRICT;
INSERT INTO counter (what, n)
VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0);

-- Scopes that are cancelled: no task is added to them, nor to those below them.
CREATE TABLE scope (
  name TEXT PRIMARY KEY NOT NULL,
  at INTEGER NOT NULL,                -- when it was cancelled
  reason TEXT                         -- for those whose tasks it refuses
) STRICT, WITHOUT ROWID;

-- Settings of the home that commands change.
CREATE TABLE setting (
  name TEXT PRIMARY KEY NOT NULL,
  content TEXT NOT NULL               -- JSON
) STRICT, WITHOUT ROWID;

-- Secrets that belong to no single task, sealed: refreshed credentials, jars of cookies; and `check`, by which the key is
-- known to be the right one.
CREATE TABLE secret (
  name TEXT PRIMARY KEY NOT NULL,
  content BLOB NOT NULL,
  at INTEGER NOT NULL                 -- when it was written
) STRICT, WITHOUT ROWID;

-- State that components keep, sealed.
CREATE TABLE keyvalue (
  owner TEXT NOT NULL,                -- who was granted it
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  content BLOB NOT NULL,
  bytes INTEGER NOT NULL,             -- what it counts against the quota
  PRIMARY KEY (owner, bucket, key)
) STRICT, WITHOUT ROWID;

-- What all the pairs of an owner count.
CREATE TABLE keyvalue_used (
  owner TEXT PRIMARY KEY NOT NULL,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
