-- Schema 7: state that components keep. Contents are sealed, each to its place.
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
