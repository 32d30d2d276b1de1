//! The corpora, and damaged copies of what is in them: what `fuzz/` searches for hours is looked at here for a moment.

#[path = "../../../../fuzz/feed.rs"]
mod feed;

use feed::feed;

#[test]
fn any_bytes_are_read_as_frames() {
    feed("frame", super::frame);
}

#[test]
fn whatever_workers_do_every_item_gets_one_outcome() {
    feed("replies", super::replies);
}

#[test]
fn a_scribbled_page_gives_no_more_than_was_offered() {
    feed("page", super::page);
}

#[test]
fn a_scribbled_window_gives_no_more_than_was_announced() {
    feed("window", super::window);
}

#[test]
fn any_bytes_are_decoded_within_their_means() {
    feed("codec", super::codec);
}
