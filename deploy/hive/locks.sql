-- Tables of the transaction manager of a metastore of Hive 4.0 with PostgreSQL, as far as locks
-- need them. The script of Hive's own distribution, which `schematool` runs, is not published as a jar.

CREATE TABLE "TXNS" (
  "TXN_ID" bigserial PRIMARY KEY,
  "TXN_STATE" char(1) NOT NULL,
  "TXN_STARTED" bigint NOT NULL,
  "TXN_LAST_HEARTBEAT" bigint NOT NULL,
  "TXN_USER" varchar(128) NOT NULL,
  "TXN_HOST" varchar(128) NOT NULL,
  "TXN_AGENT_INFO" varchar(128),
  "TXN_META_INFO" varchar(128),
  "TXN_HEARTBEAT_COUNT" integer,
  "TXN_TYPE" integer
);

CREATE TABLE "TXN_COMPONENTS" (
  "TC_TXNID" bigint NOT NULL REFERENCES "TXNS" ("TXN_ID"),
  "TC_DATABASE" varchar(128) NOT NULL,
  "TC_TABLE" varchar(256),
  "TC_PARTITION" varchar(767),
  "TC_OPERATION_TYPE" char(1) NOT NULL,
  "TC_WRITEID" bigint
);

CREATE TABLE "HIVE_LOCKS" (
  "HL_LOCK_EXT_ID" bigint NOT NULL,
  "HL_LOCK_INT_ID" bigint NOT NULL,
  "HL_TXNID" bigint NOT NULL,
  "HL_DB" varchar(128) NOT NULL,
  "HL_TABLE" varchar(256),
  "HL_PARTITION" varchar(767),
  "HL_LOCK_STATE" char(1) NOT NULL,
  "HL_LOCK_TYPE" char(1) NOT NULL,
  "HL_LAST_HEARTBEAT" bigint NOT NULL,
  "HL_ACQUIRED_AT" bigint,
  "HL_USER" varchar(128) NOT NULL,
  "HL_HOST" varchar(128) NOT NULL,
  "HL_HEARTBEAT_COUNT" integer,
  "HL_AGENT_INFO" varchar(128),
  "HL_BLOCKEDBY_EXT_ID" bigint,
  "HL_BLOCKEDBY_INT_ID" bigint,
  "HL_ERROR_MESSAGE" text,
  PRIMARY KEY ("HL_LOCK_EXT_ID", "HL_LOCK_INT_ID")
);

CREATE TABLE "NEXT_LOCK_ID" ("NL_NEXT" bigint NOT NULL);
INSERT INTO "NEXT_LOCK_ID" VALUES (1);

CREATE TABLE "TXN_LOCK_TBL" ("TXN_LOCK" bigint NOT NULL);
INSERT INTO "TXN_LOCK_TBL" VALUES (1);

-- Locks of the metastores among themselves.
CREATE TABLE "AUX_TABLE" (
  "MT_KEY1" varchar(128) NOT NULL,
  "MT_KEY2" bigint NOT NULL,
  "MT_COMMENT" varchar(255),
  PRIMARY KEY ("MT_KEY1", "MT_KEY2")
);
