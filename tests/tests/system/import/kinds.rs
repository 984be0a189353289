//! Tables with the types that only one database has, such as intervals, enumerations, bit strings,
//! geometries and addresses, with values at their limits.

use super::Server;

pub(super) const POSTGRES: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'very happy, "indeed"', '');
CREATE DOMAIN percent AS numeric(5, 2);
CREATE TABLE kinds (id bigint PRIMARY KEY, iv interval, ivs interval second(3), m mood, ms mood[],
  ivl interval[], bl bit(3)[], b4 bit(4), vb varbit(9), point point, line line, poly polygon,
  circle circle, c cidr, i inet, mac macaddr, mac8 macaddr8, ts tsvector, r int4range,
  rs int4multirange, t time, tz timetz, pc percent, nl numeric, n50 numeric(50, 10),
  neg numeric(3, -2), ch char(5), o oid, one "char", lsn pg_lsn, path jsonpath, by bytea);
INSERT INTO kinds VALUES
 (1, '1 year 2 mons -3 days 04:05:06.789', '-00:00:01.234', 'very happy, "indeed"', '{sad,NULL,""}',
  '{"1 day",NULL}', '{101,NULL}', '1010', '', '(1.5,-2.5)', '{1,-1,0.1}', '((0,0),(1,1),(1,0))',
  '<(0.1,2),3>', '10.0.0.0/8', '10.1.2.3/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
  'a fat cat', '[1,5)', '{[1,2),[3,)}', '24:00', '24:00:00+15:59:59', -999.99,
  123456789012345678901234567890123456789012345.678, 'NaN', 12300, 'ab', 4294967295, 'x',
  'FFFFFFFF/FFFFFFFF', '$.a[*] ? (@ > 1)', '\x00ff'),
 (2, '178000000 years', '00:00:00', 'sad', '{}', '{}', '{}', '0000', '111111111', '(NaN,Infinity)',
  NULL, NULL, NULL, '::/0', '::1', NULL, NULL, '', 'empty', '{}', '00:00',
  '23:59:59.999999-15:59:59', 0, '-Infinity', -1234567890123456789012345678901234567890.0123456789,
  -99900, '', 0, '', '0/0', NULL, ''),
 (4, '-178000000 years', '-2147483648 days', '', NULL, NULL, NULL, '1111', '0', NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, '(,)', NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL);
INSERT INTO kinds VALUES (3)"#;

pub(super) const MARIADB: &str = r#"
SET sql_mode = '';
CREATE TABLE kinds (id bigint PRIMARY KEY, e enum('a', 'b,"c', ''), s set('x', 'y', 'z'), b1 bit(1),
  b10 bit(10), b64 bit(64), pt point, g geometry, poly polygon, many multipoint, t time(6), y year,
  dt datetime(6), d date, ts timestamp(6) NULL, u64 bigint unsigned, u8 tinyint unsigned,
  padded int(6) zerofill, n65 decimal(65, 30), n38 decimal(38, 38), f float, d64 double,
  bn binary(4), vb varbinary(9), bl blob, j json, u uuid, i6 inet6, ch char(5), tx text);
INSERT INTO kinds VALUES
 (1, 'b,"c', 'x,z', b'1', b'1000000001', 0xffffffffffffffff,
  ST_GeomFromText('POINT(1.5 -2.5)', 4326), ST_GeomFromText('LINESTRING(0 0,1 1)'),
  ST_GeomFromText('POLYGON((0 0,1 1,1 0,0 0))'), ST_GeomFromText('MULTIPOINT(1 1,2 2)', 3857),
  '838:59:59.999999', 2155, '9999-12-31 23:59:59.999999', '9999-12-31',
  '2038-01-19 03:14:07.999999', 18446744073709551615, 255, 42,
  12345678901234567890123456789012345.123456789012345678901234567890,
  0.12345678901234567890123456789012345678, 0.1, -1.7976931348623157e308, X'00', X'00FF5C', 'bl',
  '{"a": [1, null, "x"]}', '00112233-4455-6677-8899-aabbccddeeff', '::1', 'ab', 'a\\b"c\nd'),
 (2, '', '', b'0', b'0', b'0', NULL, NULL, NULL, NULL, '-00:00:00.000001', 0, 0, 0,
  '1970-01-01 00:00:01', 0, 0, 0, -1, -0.1, -3.4e38, 5e-324, X'', X'', '', 'null',
  '00000000-0000-0000-0000-000000000000', '::', '', ''),
 (4, 'a', 'y', b'1', b'1', b'1', NULL, NULL, NULL, NULL, '00:00:01', 1901, '2026-00-00',
  '2026-02-00', NULL, 1, 1, 1, 0, 0, 16777216, 0, X'FFFFFFFF', X'FF', X'FF', '"s"',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff::', 'null', 'NULL');
INSERT INTO kinds (id) VALUES (3)"#;

/// Returns the rows of MariaDB with each value in hexadecimal, or `-` for NULL.
pub(super) fn in_hex(server: &Server, table: &str) -> String {
    let columns = server.ask(&format!(
        "SELECT group_concat(concat('coalesce(hex(', column_name, '),''-'')') ORDER BY \
         ordinal_position) FROM information_schema.columns WHERE table_schema = 'shop' AND \
         table_name = '{table}'"
    ));
    server.ask(&format!("SELECT concat_ws('|', {}) FROM {table} ORDER BY id", columns.trim()))
}
