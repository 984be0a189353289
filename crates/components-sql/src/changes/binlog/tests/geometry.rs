//! Recorded events of MariaDB 10.11 for a table with texts after a geometry: the log lists a
//! charset for the geometry too.

use super::*;

const MAP: &str = "\
     1f440d6b13010000005b000000d8130000000018000000000001000372656300056b696e6473000603fffc0f\
     0ffe08040209000400fe083e01010003053f2d083f2d070101040d02696401670174016c017901630801008d\
     064506";
const ROW: &str = "\
     1f440d6b1701000000550000002d14000000001800000000000100063fc00100000019000000000000000101\
     000000000000000000f03f000000000000004007004772c3bcc39f650362e4640200ff017854a38b79";

#[test]
fn texts_after_a_geometry_keep_their_charset() {
    let (mut log, form) = begun();
    let mut send = |kind, end, data: &[u8]| take(&mut log, &form, kind, end, data).unwrap();
    send(162, 100, &gtid(5, 4));
    send(19, 200, &data(MAP));
    send(23, 300, &data(ROW));
    let came = whole(send(16, 331, &[0; 8]));
    let body = concat!(
        r#"{"id":1,"g":"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==","t":"Grüße","l":"bäd","#,
        r#""y":"AP8=","c":"x"}"#
    );
    hold(&came, body, "3-7-5");
}
