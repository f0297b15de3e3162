-- From version 1 to 2: data is kept once however often it is used, requests have an age, lists have their
-- indexes, and archetype files are kept.
ALTER TABLE demonstrations RENAME TO old_demonstrations;
ALTER TABLE revisions RENAME TO old_revisions;
ALTER TABLE sources RENAME TO old_sources;
ALTER TABLE requests RENAME TO old_requests;
CREATE TABLE blobs (
	"key" INTEGER NOT NULL,
	digest BLOB NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY ("key"),
	UNIQUE (digest)
);
CREATE TABLE demonstrations (
	"key" INTEGER NOT NULL,
	npc VARCHAR(63) NOT NULL,
	id VARCHAR(63) NOT NULL,
	examples INTEGER NOT NULL,
	create_time FLOAT NOT NULL,
	blob INTEGER NOT NULL,
	PRIMARY KEY ("key"),
	UNIQUE (npc, id),
	FOREIGN KEY(npc) REFERENCES npcs (id) ON DELETE CASCADE,
	FOREIGN KEY(blob) REFERENCES blobs ("key")
);
CREATE TABLE revisions (
	"key" INTEGER NOT NULL,
	npc VARCHAR(63) NOT NULL,
	number INTEGER NOT NULL,
	archetype VARCHAR(63) NOT NULL,
	archetype_revision VARCHAR(64) NOT NULL,
	examples INTEGER NOT NULL,
	support_nll FLOAT NOT NULL,
	create_time FLOAT NOT NULL,
	blob INTEGER NOT NULL,
	PRIMARY KEY ("key"),
	UNIQUE (npc, number),
	FOREIGN KEY(npc) REFERENCES npcs (id) ON DELETE CASCADE,
	FOREIGN KEY(blob) REFERENCES blobs ("key")
);
CREATE TABLE sources (
	revision INTEGER NOT NULL,
	demonstration INTEGER NOT NULL,
	PRIMARY KEY (revision, demonstration),
	FOREIGN KEY(revision) REFERENCES revisions ("key") ON DELETE CASCADE,
	FOREIGN KEY(demonstration) REFERENCES demonstrations ("key") ON DELETE CASCADE
);
CREATE TABLE requests (
	"key" INTEGER NOT NULL,
	id VARCHAR(160) NOT NULL,
	digest VARCHAR(64) NOT NULL,
	result VARCHAR NOT NULL,
	create_time FLOAT NOT NULL,
	PRIMARY KEY ("key"),
	UNIQUE (id)
);
INSERT OR IGNORE INTO blobs (digest, data) SELECT sha256(data), data FROM old_demonstrations;
INSERT OR IGNORE INTO blobs (digest, data) SELECT sha256(state), state FROM old_revisions;
INSERT INTO demonstrations ("key", npc, id, examples, create_time, blob)
	SELECT old."key", npc, id, examples, create_time, blobs."key"
	FROM old_demonstrations AS old JOIN blobs ON digest = sha256(old.data);
INSERT INTO revisions
	("key", npc, number, archetype, archetype_revision, examples, support_nll, create_time, blob)
	SELECT old."key", npc, number, archetype, archetype_revision, examples, support_nll, create_time, blobs."key"
	FROM old_revisions AS old JOIN blobs ON digest = sha256(old.state);
INSERT INTO sources (revision, demonstration) SELECT revision, demonstration FROM old_sources;
INSERT INTO requests (id, digest, result, create_time)
	SELECT id, digest, result, CAST(strftime('%s', 'now') AS FLOAT) FROM old_requests;
DROP TABLE old_sources;
DROP TABLE old_demonstrations;
DROP TABLE old_revisions;
DROP TABLE old_requests;
DROP INDEX ix_npcs_archetype;
CREATE INDEX ix_npcs_archetype_id ON npcs (archetype, id);
CREATE INDEX ix_demonstrations_blob ON demonstrations (blob);
CREATE INDEX ix_revisions_blob ON revisions (blob);
CREATE INDEX ix_sources_demonstration ON sources (demonstration);
CREATE TABLE archetypes (
	name VARCHAR(63) NOT NULL,
	current VARCHAR(64) NOT NULL,
	in_folder VARCHAR(64) NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE archetype_revisions (
	revision VARCHAR(64) NOT NULL,
	name VARCHAR(63) NOT NULL,
	create_time FLOAT NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY (revision)
);
CREATE INDEX ix_archetype_revisions_name ON archetype_revisions (name);
CREATE TABLE upgrades (
	id VARCHAR(63) NOT NULL,
	archetype VARCHAR(63) NOT NULL,
	revision VARCHAR(64) NOT NULL,
	npcs VARCHAR NOT NULL,
	tolerance FLOAT NOT NULL,
	unchecked BOOLEAN NOT NULL,
	state VARCHAR(16) NOT NULL,
	total INTEGER NOT NULL,
	cursor VARCHAR(63) NOT NULL,
	moved INTEGER NOT NULL,
	kept INTEGER NOT NULL,
	failed INTEGER NOT NULL,
	create_time FLOAT NOT NULL,
	end_time FLOAT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX ix_upgrades_archetype ON upgrades (archetype);
CREATE TABLE upgrade_outcomes (
	upgrade VARCHAR(63) NOT NULL,
	npc VARCHAR(63) NOT NULL,
	result VARCHAR(16) NOT NULL,
	reason VARCHAR NOT NULL,
	nll_before FLOAT NOT NULL,
	nll_after FLOAT NOT NULL,
	PRIMARY KEY (upgrade, npc),
	FOREIGN KEY(upgrade) REFERENCES upgrades (id) ON DELETE CASCADE
);
