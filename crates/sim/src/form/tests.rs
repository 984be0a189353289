use formats::format::Format;
use pipeline::{Batch, BatchBuilder, BuildContext, Choice, Settings};

use super::*;

const CODECS: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Zstd, Codec::Bzip2];

fn every() -> impl Iterator<Item = Form> {
    let lines = LINES.iter().flat_map(|encoder| CODECS.map(|codec| (*encoder, codec)));
    let containers = CONTAINERS.iter().map(|encoder| (*encoder, Codec::None));
    lines.chain(containers).map(|(encoder, codec)| Form { encoder, codec })
}

fn batch() -> Batch {
    let mut batch = BatchBuilder::default();
    for number in 0..500 {
        let lane = (number % 3).to_string();
        let headers = [("lane", &*lane), ("host", "edge-0")];
        batch.push(format!("{number:.<40}").as_bytes(), &headers);
    }
    batch.finish()
}

fn file(form: Form) -> Vec<u8> {
    let [encoder, codec] = form.json().map(|json| serde_json::from_str(json).unwrap());
    let alone = formats::alone("out", std::path::Path::new("unused"), env::real());
    let cx = BuildContext { catalogue: crate::parts::CATALOGUE, ..alone };
    let encoder = Settings::from_json(&encoder).read::<Choice<_>>().unwrap();
    let codec = Settings::from_json(&codec).read::<Choice<_>>().unwrap();
    Format::new(&encoder, &codec, &cx).unwrap().file(&batch()).to_vec()
}

#[test]
fn every_event_of_a_file_is_found_with_the_host_that_sent_it() {
    for form in every() {
        let events = form.events(&file(form)).unwrap();
        assert_eq!(events.len(), 500, "{form:?}");
        let has_host =
            !matches!(form.encoder, Encoder::Text | Encoder::Sequence | Encoder::SequenceBlocks);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.body, format!("{number:.<40}").as_bytes(), "{form:?}");
            assert_eq!(event.host.as_deref(), has_host.then_some("edge-0"), "{form:?}");
        }
    }
}

/// Books also compare the number of events, which detects a cut between events in formats without
/// an end marker.
#[test]
fn a_file_that_is_cut_is_never_taken_for_whole() {
    for form in every() {
        let whole = file(form);
        let cuts = (0..whole.len()).step_by(1 + whole.len() / 200).chain([whole.len() - 1]);
        for cut in cuts {
            let events = form.events(&whole[..cut]);
            let fewer = events.as_ref().is_ok_and(|events| events.len() < 500);
            assert!(events.is_err() || fewer, "{form:?} cut at {cut} of {}", whole.len());
            let is_closed = form.codec != Codec::None;
            assert!(events.is_err() || !is_closed, "{form:?} cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn files_in_a_row_are_one_where_they_may_be_merged() {
    let dice = Dice::new(1, "forms");
    for _ in 0..50 {
        let form = Form::draw(&dice, true);
        let twice = [file(form), file(form)].concat();
        assert_eq!(form.events(&twice).map(|events| events.len()), Ok(1_000), "{form:?}");
    }
}
