-- Schema 12: when the part file was made, in nanoseconds since 1970; 0 where the file system does not say. A number of an inode
-- is given again to the next file.
ALTER TABLE resume ADD COLUMN part_born INTEGER NOT NULL DEFAULT 0;
