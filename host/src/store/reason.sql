-- Schema 10: why a scope was cancelled, for those whose tasks it refuses.
ALTER TABLE scope ADD COLUMN reason TEXT;
