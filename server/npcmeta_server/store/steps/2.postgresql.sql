-- From version 1 to 2: data is kept once however often it is used, requests have an age, lists have their
-- indexes, and archetype files are kept.
CREATE TABLE blobs (
	key SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	data BYTEA NOT NULL,
	PRIMARY KEY (key),
	UNIQUE (digest)
);
INSERT INTO blobs (digest, data) SELECT sha256(data), data FROM demonstrations ON CONFLICT DO NOTHING;
INSERT INTO blobs (digest, data) SELECT sha256(state), state FROM revisions ON CONFLICT DO NOTHING;
ALTER TABLE demonstrations ADD COLUMN blob INTEGER REFERENCES blobs (key);
ALTER TABLE revisions ADD COLUMN blob INTEGER REFERENCES blobs (key);
UPDATE demonstrations SET blob = blobs.key FROM blobs WHERE blobs.digest = sha256(demonstrations.data);
UPDATE revisions SET blob = blobs.key FROM blobs WHERE blobs.digest = sha256(revisions.state);
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE demonstrations ALTER COLUMN blob SET NOT NULL, DROP COLUMN data;
ALTER TABLE revisions ALTER COLUMN blob SET NOT NULL, DROP COLUMN state;
ALTER TABLE requests DROP CONSTRAINT requests_pkey;
ALTER TABLE requests ADD COLUMN key SERIAL PRIMARY KEY, ADD UNIQUE (id);
ALTER TABLE requests ADD COLUMN create_time FLOAT NOT NULL DEFAULT extract(epoch FROM now());
ALTER TABLE requests ALTER COLUMN create_time DROP DEFAULT;
ALTER TABLE npcs ALTER COLUMN display_name TYPE VARCHAR(120) COLLATE "C";
DROP INDEX ix_npcs_archetype;
CREATE INDEX ix_npcs_archetype_id ON npcs (archetype, id);
CREATE INDEX ix_demonstrations_blob ON demonstrations (blob);
CREATE INDEX ix_revisions_blob ON revisions (blob);
CREATE INDEX ix_sources_demonstration ON sources (demonstration);
CREATE TABLE archetypes (
	name VARCHAR(63) COLLATE "C" NOT NULL,
	current VARCHAR(64) NOT NULL,
	in_folder VARCHAR(64) NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE archetype_revisions (
	revision VARCHAR(64) NOT NULL,
	name VARCHAR(63) COLLATE "C" NOT NULL,
	create_time FLOAT NOT NULL,
	data BYTEA NOT NULL,
	PRIMARY KEY (revision)
);
CREATE INDEX ix_archetype_revisions_name ON archetype_revisions (name);
CREATE TABLE upgrades (
	id VARCHAR(63) COLLATE "C" NOT NULL,
	archetype VARCHAR(63) COLLATE "C" NOT NULL,
	revision VARCHAR(64) NOT NULL,
	npcs VARCHAR NOT NULL,
	tolerance FLOAT NOT NULL,
	unchecked BOOLEAN NOT NULL,
	state VARCHAR(16) NOT NULL,
	total INTEGER NOT NULL,
	cursor VARCHAR(63) COLLATE "C" NOT NULL,
	moved INTEGER NOT NULL,
	kept INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	create_time FLOAT NOT NULL,
	end_time FLOAT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_upgrades_archetype ON upgrades (archetype);
CREATE TABLE upgrade_outcomes (
	upgrade VARCHAR(63) COLLATE "C" NOT NULL,
	npc VARCHAR(63) COLLATE "C" NOT NULL,
	result VARCHAR(16) NOT NULL,
	reason VARCHAR NOT NULL,
	nll_before FLOAT NOT NULL,
	nll_after FLOAT NOT NULL,
	PRIMARY KEY (upgrade, npc),
	FOREIGN KEY(upgrade) REFERENCES upgrades (id) ON DELETE CASCADE
);
