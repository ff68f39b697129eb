-- Schema 1 of haul.db. Times are milliseconds since 1970. Statuses are the numbers of task::Status:
-- 0 enqueued, 1 running, 2 complete, 3 notFound, 4 failed, 5 canceled, 6 waitingToRetry, 7 paused.

PRAGMA application_id = 1751217516; -- "haul"

CREATE TABLE task (
  key INTEGER PRIMARY KEY,            -- given out by the writer, never twice
  task_id TEXT NOT NULL UNIQUE,
  status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 7),
  publishing INTEGER NOT NULL DEFAULT 0, -- 1: running, and its file is being renamed
  run INTEGER NOT NULL DEFAULT 1,     -- rises when a final task is queued again; one final event in each run
  priority INTEGER NOT NULL,
  created INTEGER NOT NULL,
  host TEXT NOT NULL,
  group_name TEXT NOT NULL,
  url TEXT NOT NULL,
  allow_pause INTEGER NOT NULL,
  ready_at INTEGER,                   -- NULL: now. Only enqueued and waitingToRetry tasks have one
  attempt INTEGER NOT NULL DEFAULT 0,
  retries_remaining INTEGER NOT NULL,
  bytes_done INTEGER NOT NULL DEFAULT 0,
  expected_size INTEGER,
  ended_at INTEGER,                   -- of final tasks only
  closed INTEGER NOT NULL DEFAULT 0,  -- 1: complete (and told), notFound or canceled: nothing goes on from it
  place BLOB,                         -- bytes of a path
  outcome TEXT,                       -- JSON of codec.rs: how the last attempt ended
  spec TEXT NOT NULL,                 -- JSON of codec.rs: what has no column of its own
  body BLOB                           -- of a request whose body is bytes
) STRICT;

-- The queue, whole and by host and group: in the order in which tasks start.
CREATE INDEX task_queue ON task (priority, created) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_part ON task (host, group_name, priority, created) WHERE status = 0 AND ready_at IS NULL;
CREATE INDEX task_due ON task (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX task_status ON task (status);
-- Most tasks are of the default group, which is found by status: an entry for each of them would only cost time.
CREATE INDEX task_group ON task (group_name, status) WHERE group_name <> 'default';
CREATE INDEX task_ended ON task (ended_at) WHERE ended_at IS NOT NULL;
-- Only the beginning of the URL: neighbours stay neighbours (a hash would spread a batch over all pages) and a long
-- signed URL does not fill pages twice.
-- Tasks without a place are never the same as those of a `get`, which has one.
CREATE INDEX task_url ON task (substr(url, 1, 120)) WHERE closed = 0 AND place IS NOT NULL;

CREATE TABLE resume (
  task INTEGER PRIMARY KEY REFERENCES task (key) ON DELETE CASCADE,
  part_name TEXT NOT NULL,
  part_dev INTEGER NOT NULL,
  part_ino INTEGER NOT NULL,
  durable_bytes INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  total_bytes INTEGER,
  etag TEXT,
  last_modified TEXT,
  date TEXT,
  ranges_known INTEGER NOT NULL,
  encoded INTEGER NOT NULL,
  final_name TEXT NOT NULL,
  final_url TEXT NOT NULL
) STRICT;

CREATE TABLE publish (
  task INTEGER PRIMARY KEY REFERENCES task (key) ON DELETE CASCADE,
  part_name TEXT NOT NULL,
  final_name TEXT NOT NULL,
  dev INTEGER NOT NULL,
  ino INTEGER NOT NULL,
  size INTEGER NOT NULL,
  details TEXT NOT NULL               -- JSON of codec.rs
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
  details TEXT                        -- JSON of codec.rs
) STRICT;

CREATE INDEX event_task ON event (task);
CREATE UNIQUE INDEX event_final ON event (task, run) WHERE final = 1;
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
