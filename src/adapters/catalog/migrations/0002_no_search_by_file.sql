-- A file's name begins with its recording's, which is the primary key.
DROP INDEX recordings_by_key;
DROP INDEX recordings_by_poster;
