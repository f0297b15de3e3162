CREATE TABLE schema (
	version SERIAL NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema" VALUES(1);
CREATE TABLE npcs (
	id VARCHAR(63) COLLATE "C" NOT NULL, 
	archetype VARCHAR(63) NOT NULL, 
	display_name VARCHAR(120) NOT NULL, 
	seed VARCHAR(20) NOT NULL, 
	revision BIGINT NOT NULL, 
	examples INTEGER NOT NULL, 
	create_time FLOAT NOT NULL, 
	update_time FLOAT NOT NULL, 
	etag VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "npcs" VALUES('amy','guard','Amy','18446744073709551615',2,3,1700000000.25,1795828640.8938048,'4ee48cc24730ab3d');
INSERT INTO "npcs" VALUES('bob','scout','','7',2,5,1700000001.5,1795828640.8829255,'7221ebb28d9635de');
CREATE TABLE demonstrations (
	"key" SERIAL NOT NULL, 
	npc VARCHAR(63) COLLATE "C" NOT NULL, 
	id VARCHAR(63) COLLATE "C" NOT NULL, 
	examples INTEGER NOT NULL, 
	create_time FLOAT NOT NULL, 
	data BYTEA NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE (npc, id), 
	FOREIGN KEY(npc) REFERENCES npcs (id) ON DELETE CASCADE
);
INSERT INTO "demonstrations" VALUES(1,'amy','18ec10a25900a87c-f211d4',3,1795828640.8779733,'\x73746F72656420636C6970');
INSERT INTO "demonstrations" VALUES(2,'bob','18ec10a259488561-d46090',5,1795828640.8826714,'\x636C6970');
INSERT INTO "demonstrations" VALUES(3,'bob','18ec10a2594b0cca-036b16',2,1795828640.882826,'\x636C6970');
CREATE TABLE revisions (
	"key" SERIAL NOT NULL, 
	npc VARCHAR(63) COLLATE "C" NOT NULL, 
	number BIGINT NOT NULL, 
	archetype VARCHAR(63) NOT NULL, 
	archetype_revision VARCHAR(64) NOT NULL, 
	examples INTEGER NOT NULL, 
	support_nll FLOAT NOT NULL, 
	create_time FLOAT NOT NULL, 
	state BYTEA NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE (npc, number), 
	FOREIGN KEY(npc) REFERENCES npcs (id) ON DELETE CASCADE
);
INSERT INTO "revisions" VALUES(1,'amy',1,'guard','abc',0,0.0,1700000000.25,'\x7374617465206F6620616D79');
INSERT INTO "revisions" VALUES(2,'bob',1,'scout','def',0,0.0,1700000001.5,'\x7374617465206F6620626F62');
INSERT INTO "revisions" VALUES(3,'bob',2,'scout','def',5,0.5,1795828640.8829255,'\x6164617074656420626F62');
INSERT INTO "revisions" VALUES(4,'amy',2,'guard','abc',3,0.25,1795828640.8938048,'\x6164617074656420616D79');
CREATE TABLE sources (
	revision INTEGER NOT NULL, 
	demonstration INTEGER NOT NULL, 
	PRIMARY KEY (revision, demonstration), 
	FOREIGN KEY(revision) REFERENCES revisions ("key") ON DELETE CASCADE, 
	FOREIGN KEY(demonstration) REFERENCES demonstrations ("key") ON DELETE CASCADE
);
INSERT INTO "sources" VALUES(3,1);
INSERT INTO "sources" VALUES(3,2);
INSERT INTO "sources" VALUES(3,3);
INSERT INTO "sources" VALUES(4,1);
CREATE TABLE requests (
	id VARCHAR(160) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	result VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "requests" VALUES('CreateNpc:1','d1','{"npc": "amy", "create_time": 1700000000.25}');
INSERT INTO "requests" VALUES('CreateDemonstration:1','d2','{"demonstration": "18ec10a25900a87c-f211d4"}');
INSERT INTO "requests" VALUES('Adapt:1','d3','{"number": 2, "create_time": 1795828640.8829255, "demonstrations": ["18ec10a259488561-d46090", "18ec10a2594b0cca-036b16"]}');
CREATE INDEX ix_npcs_archetype ON npcs (archetype);
SELECT setval('demonstrations_key_seq', 3);
SELECT setval('revisions_key_seq', 4);
