//! The shop's recordings are what their labels say, and read without a flaw.

use std::sync::Arc;

use tapio_collect::{Binder, Home};
use tapio_eval::{detect_format, importer};
use tapio_model::Kind;

#[expect(dead_code, reason = "the example's `main` is not called here")]
#[path = "../examples/make_shop/main.rs"]
mod make_shop;

#[test]
fn every_line_is_an_event_and_every_fault_lies_within_the_recording() {
    let directory = tempfile::tempdir().unwrap();
    let mut counts = Vec::new();
    for path in make_shop::write(directory.path()).unwrap() {
        let format = detect_format(&path).and_then(importer).unwrap();
        let binder = Arc::new(Binder::new(Home::default()));
        let (mut recording, labels) = format.open_labelled(&path, binder).unwrap();
        let mut events = Vec::new();
        while recording.next_chunk(&mut events).unwrap() {}
        let account = recording.account();
        assert_eq!((account.rejected_total(), account.rows), (0, account.events));
        let thrown = events.iter().filter(|event| event.kind == Kind::Exception);
        let is_in_fault = |at| {
            let mut faults = labels.faults.iter();
            faults.any(|fault| fault.at <= at && fault.until.is_some_and(|until| at <= until))
        };
        assert!(thrown.clone().all(|event| is_in_fault(event.time)));
        let (first, last) = (events.first().unwrap().time, events.last().unwrap().time);
        assert!(labels.faults.iter().all(|fault| first < fault.at && fault.until < Some(last)));
        counts.push((labels.faults.len(), labels.fault_free.len(), thrown.count() > 0));
    }
    assert_eq!(counts, [(8, 0, true), (0, 1, false)]);
}
