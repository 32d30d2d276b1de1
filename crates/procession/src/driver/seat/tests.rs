//! A seat with a page and no process: what it plans, what it believes, what it takes back.
#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::sync::Arc;
use std::time::Duration;

use ipc_channel::ipc;
use procession_core::{JobId, Time};

use super::*;
use crate::driver::backlog::Backlog;
use crate::driver::jobs::JobEntry;
use crate::job::Job;
use crate::page::{Begun, PageWorker};
use crate::process::{Exit, WorkerExit};
use crate::registry::TaskInfo;
use crate::shortage::Shortage;
use crate::slab::Arena;

#[crate::task]
fn noop() {}

fn task() -> &'static TaskInfo {
    noop.info()
}

/// A seat, its worker's side of the page, and one job with these items.
struct Scene {
    seat: Seat,
    jobs: Jobs,
    job: JobId,
    page: PageWorker,
}

impl Scene {
    fn new(item_sizes: &[usize]) -> Scene {
        Scene::with_segment(item_sizes, Segment::default())
    }

    fn with_segment(item_sizes: &[usize], mut segment: Segment) -> Scene {
        let (page, fd) = PageMaster::create().unwrap();
        let (sender, _) = ipc::bytes_channel().unwrap();
        let (goodbye, _) = ipc::bytes_channel().unwrap();
        let outlet = |sender| Outlet::new(sender).unwrap();
        let link = Link { sender: outlet(sender), goodbye: outlet(goodbye), page, pid: 1 };
        for &size in item_sizes {
            segment.push(|sink| sink.put(&vec![7; size])).unwrap();
        }
        let mut backlog = Backlog::default();
        backlog.push(segment, 0);
        let mut jobs = Jobs::default();
        let job = jobs.insert(JobEntry {
            job: Arc::new(Job::new(task())),
            task: 0,
            backlog,
            timeout: None,
            deadline: None,
            total: item_sizes.len() as u64,
            losses: Vec::new(),
        });
        let seat = Seat { link: Some(Arc::new(link)), ..Seat::default() };
        Scene { seat, jobs, job, page: PageWorker::open(&fd).unwrap() }
    }

    fn queue(&mut self, first: u64, items: u64) {
        self.seat.queue(Handout { job: self.job, first, items, attempt: 1 });
    }

    /// What is planned now: `frame: first+items, …`.
    fn plan(&mut self) -> String {
        match self.seat.plan(&self.jobs) {
            None => "nothing".to_owned(),
            Some(Message::Stop) => "stop".to_owned(),
            Some(Message::Part { start, end, .. }) => format!("part {start}..{end}"),
            Some(Message::LargeWork { frame, run, place: None, .. }) => {
                format!("large {frame}: {}", run.run.first)
            }
            Some(Message::LargeWork { frame, run, place: Some(_), .. }) => {
                format!("shared {frame}: {}", run.run.first)
            }
            Some(Message::Work { frame, runs, .. }) => {
                let runs: Vec<_> =
                    runs.iter().map(|run| format!("{}+{}", run.run.first, run.slice.items)).collect();
                format!("frame {frame}: {}", runs.join(", "))
            }
        }
    }

    /// The worker wants to begin an item.
    fn begin(&self, frame_no: u32, position: u32) -> Begun {
        self.page.claims(frame_no).begin(position)
    }

    /// What is late, as the supervisor takes it.
    fn take_late(&mut self) -> Option<(ResultsHeader, Vec<u8>)> {
        let unsent = self.seat.late()?;
        self.seat.take_late(&unsent, &unsent.read()?)
    }

    /// What a dead worker has left.
    fn salvage(&self) -> Option<Vec<u8>> {
        self.seat.unsent()?.read()
    }

    /// How many of the results are new.
    fn results(&mut self, frame_no: u32, first: u32, items: u32) -> Result<u32, String> {
        let header = ResultsHeader { frame_no, first, items, busy_ns: 1, ..ResultsHeader::default() };
        self.seat.accept(&header, Origin::Page).map(|fresh| fresh.items)
    }
}

#[test]
fn queued_handouts_share_a_frame() {
    let mut scene = Scene::new(&[1; 10]);
    scene.queue(0, 2);
    scene.queue(5, 1);
    assert_eq!(scene.plan(), "frame 0: 0+2, 5+1");
    assert_eq!(scene.plan(), "nothing");
    scene.seat.queue_stop();
    assert_eq!(scene.plan(), "stop");
    assert_eq!(scene.plan(), "nothing");
}

#[test]
fn a_handout_too_large_for_a_frame_is_cut() {
    let mut scene = Scene::new(&[39_000; 5]);
    scene.queue(0, 5);
    assert_eq!(scene.plan(), "frame 0: 0+2");
    assert_eq!(scene.plan(), "frame 1: 2+2");
    // Its credit is used up by bytes before it is by frames.
    assert_eq!(scene.plan(), "nothing");
    assert_eq!(scene.results(0, 0, 2), Ok(2));
    assert_eq!(scene.plan(), "frame 2: 4+1");
}

#[test]
fn no_more_frames_than_credit() {
    let mut scene = Scene::new(&[1; 6 * FULL_ITEMS as usize]);
    for frame in 0..u64::from(wire::CREDIT_FRAMES_MAX) {
        let first = frame * FULL_ITEMS;
        scene.queue(first, FULL_ITEMS);
        assert_eq!(scene.plan(), format!("frame {frame}: {first}+{FULL_ITEMS}"));
    }
    let first = 4 * FULL_ITEMS;
    scene.queue(first, FULL_ITEMS);
    assert_eq!(scene.plan(), "nothing");
    assert_eq!(scene.results(0, 0, FULL_ITEMS as u32), Ok(FULL_ITEMS as u32));
    assert_eq!(scene.plan(), format!("frame 4: {first}+{FULL_ITEMS}"));
}

#[test]
fn a_worker_with_two_frames_waits_until_a_third_is_worth_it() {
    let mut scene = Scene::new(&[1; 3 + FULL_ITEMS as usize]);
    for item in 0..2 {
        scene.queue(item, 1);
        assert_eq!(scene.plan(), format!("frame {item}: {item}+1"));
    }
    scene.queue(2, 1);
    assert_eq!(scene.plan(), "nothing");
    // Company, or a reply, whichever comes first.
    scene.queue(3, FULL_ITEMS - 1);
    assert_eq!(scene.plan(), format!("frame 2: 2+1, 3+{}", FULL_ITEMS - 1));
    scene.queue(2 + FULL_ITEMS, 1);
    assert_eq!(scene.plan(), "nothing");
    assert_eq!((scene.results(0, 0, 1), scene.results(1, 0, 1)), (Ok(1), Ok(1)));
    assert_eq!(scene.plan(), format!("frame 3: {}+1", 2 + FULL_ITEMS));
    assert_eq!(scene.seat.reclaim(), 2 + FULL_ITEMS - 1);
}

#[test]
fn a_large_item_travels_in_parts_and_nothing_comes_between() {
    let size = 4 * wire::PART_BYTES_MAX - 5;
    let mut scene = Scene::new(&[size, 1]);
    scene.queue(0, 2);
    let part =
        |n: usize| format!("part {}..{}", n * wire::PART_BYTES_MAX, size.min((n + 1) * wire::PART_BYTES_MAX));
    assert_eq!(scene.plan(), "large 0: 0");
    for n in 0..3 {
        assert_eq!(scene.plan(), part(n));
    }
    assert_eq!(scene.plan(), "nothing");
    assert_eq!(scene.seat.part_taken(), Ok(()));
    assert_eq!(scene.plan(), part(3));
    // The parts still under way fill the socket: the next frame waits for them.
    assert_eq!(scene.plan(), "nothing");
    for _ in 0..3 {
        assert_eq!(scene.seat.part_taken(), Ok(()));
    }
    assert_eq!(scene.plan(), "frame 1: 1+1");
    assert!(scene.seat.part_taken().is_err());
}

#[test]
fn an_item_in_the_arena_is_sent_by_its_place_and_stays_until_the_worker_is_past_it() {
    let arena = Arena::create().unwrap();
    let mut scene = Scene::with_segment(&[1, 100_000, 1, 200_000], Segment::new(&arena));
    let first_place = |scene: &Scene| {
        let slice = scene.jobs.entry(scene.job).unwrap().backlog.slice(1, 1);
        (slice.segment.shared(1).unwrap().offset(), Arc::downgrade(&slice.segment))
    };
    let (place, segment) = first_place(&scene);
    scene.queue(0, 4);
    assert_eq!(scene.plan(), "frame 0: 0+1");
    assert_eq!(scene.plan(), "shared 1: 1");
    assert_eq!(scene.plan(), "nothing");
    assert_eq!((scene.results(0, 0, 1), scene.results(1, 0, 1)), (Ok(1), Ok(1)));
    assert_eq!(scene.plan(), "frame 2: 2+1");
    assert_eq!(scene.plan(), "shared 3: 3");
    // Every item has its outcome, since the call was cancelled, and the worker still reads.
    let settled = scene.jobs.remove(scene.job);
    drop(settled);
    assert!(segment.upgrade().is_some());
    assert_ne!(arena.block(&[], b"next").unwrap().offset(), place);
    assert_eq!(scene.results(2, 0, 1), Ok(1));
    assert!(segment.upgrade().is_some(), "the worker still reads its last item");
    assert_eq!(scene.results(3, 0, 1), Ok(1));
    assert!(segment.upgrade().is_none());
    assert_eq!(arena.block(&[], b"next").unwrap().offset(), place);
}

#[test]
fn a_dead_worker_holds_no_arguments() {
    let arena = Arena::create().unwrap();
    let mut scene = Scene::with_segment(&[100_000], Segment::new(&arena));
    scene.queue(0, 1);
    assert_eq!(scene.plan(), "shared 0: 0");
    let segment = Arc::downgrade(&scene.jobs.entry(scene.job).unwrap().backlog.slice(0, 1).segment);
    scene.jobs.remove(scene.job);
    assert!(segment.upgrade().is_some());
    scene.seat.let_go();
    assert!(segment.upgrade().is_none());
}

#[test]
fn only_what_is_owed_is_believed() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    assert!(scene.results(0, 0, 1).is_err(), "nothing was sent");
    assert_eq!(scene.plan(), "frame 0: 0+4");
    assert!(scene.results(1, 0, 1).is_err(), "another frame");
    assert!(scene.results(0, 1, 1).is_err(), "out of turn");
    assert!(scene.results(0, 0, 5).is_err(), "too many");
    assert!(scene.seat.frame_done(0).is_err(), "items are missing");
    assert_eq!(scene.results(0, 0, 3), Ok(3));
    assert!(scene.results(0, 0, 3).is_err(), "twice");
    assert_eq!(scene.results(0, 3, 1), Ok(1));
    assert!(scene.results(0, 4, 0).is_err(), "the frame is over");
}

#[test]
fn what_is_not_begun_is_taken_back_from_the_end() {
    let mut scene = Scene::new(&[1; 10]);
    scene.queue(0, 3);
    scene.plan();
    scene.queue(3, 2);
    scene.plan();
    scene.queue(5, 4);
    assert_eq!(scene.begin(0, 0), Begun::Yes);
    assert!(scene.seat.is_running());
    assert_eq!(scene.seat.reclaim(), 4 + 2 + 2);
    assert_eq!(scene.seat.reclaim(), 0);
    assert_eq!(scene.plan(), "nothing");
    assert_eq!((scene.begin(0, 1), scene.begin(1, 0)), (Begun::No, Begun::No));
    assert_eq!(scene.results(0, 0, 1), Ok(1));
    assert!(!scene.seat.is_running());
    // The credit of frames with a gap returns when the worker is past them.
    assert_eq!((scene.seat.frame_done(0), scene.seat.frame_done(1)), (Ok(()), Ok(())));
}

#[test]
fn late_results_are_taken_once_and_sent_again() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    let mut end = wire::RESULTS_HEADER_BYTES;
    let header = ResultsHeader::default();
    wire::put_results_header(scene.page.area(), &header);
    let mut begun = 0;
    let mut finish_one = |scene: &mut Scene| {
        assert_ne!(scene.begin(0, begun), Begun::No);
        begun += 1;
        end = wire::put_record(scene.page.area(), end, wire::Status::Ok, b"x").unwrap();
        scene.page.commit(end);
    };
    let late = |scene: &mut Scene| scene.take_late().map(|(late, _)| (late.first, late.items));
    assert_eq!(late(&mut scene), None, "nothing is finished");
    finish_one(&mut scene);
    assert_eq!(late(&mut scene), Some((0, 1)));
    assert_eq!(late(&mut scene), None, "nothing is new");
    finish_one(&mut scene);
    assert_eq!(late(&mut scene), Some((1, 1)));
    assert!(scene.results(0, 0, 1).is_err(), "a reply repeats what was taken");
}

#[test]
fn a_worker_whose_results_are_late_is_asked_to_make_haste() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    wire::put_results_header(scene.page.area(), &ResultsHeader { each: 1, ..ResultsHeader::default() });
    assert_eq!((scene.begin(0, 0), scene.begin(0, 1)), (Begun::Yes, Begun::Yes));
    scene.page.commit(wire::RESULTS_HEADER_BYTES + 1);
    let unsent = scene.seat.late().expect("nothing was heard");
    let mut claims = scene.page.claims(0);
    let bytes = unsent.read().expect("one is finished");
    let (late, records) = scene.seat.take_late(&unsent, &bytes).expect("it fits");
    assert_eq!((claims.begin(2), claims.begin(3)), (Begun::Hastily, Begun::Yes));
    assert_eq!((late.first, late.items, records), (0, 1, vec![0]));
    assert!(scene.seat.is_running());
    assert_eq!(scene.results(0, 0, 4), Ok(3));
}

#[test]
fn who_dies_between_two_items_was_running_none() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    for position in 0..3 {
        assert_eq!(scene.begin(0, position), Begun::Yes);
        assert!(scene.seat.is_running());
        assert_eq!(scene.results(0, position, 1), Ok(1));
        assert!(!scene.seat.is_running());
    }
}

#[test]
fn who_is_dead_is_stopped_for_no_limit() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 2);
    scene.plan();
    assert_eq!(scene.begin(0, 0), Begun::Yes);
    scene.page.stamp(5);
    assert_eq!(scene.seat.alive_since(), Some(Time::from_nanos(5)));
    let exit = Exit { status: WorkerExit::Signal(9), max_rss: None, cpu: None };
    let shortage = Shortage::None;
    let at = Time::from_nanos(9);
    let death = Death { exit, output_tail: None, crash: None, shortage, at, is_channel_ended: false };
    scene.seat.death = Some(death);
    assert_eq!(scene.seat.alive_since(), None);
    assert_eq!(scene.seat.loss().ran, Some(Duration::from_nanos(4)), "what it ran is still known");
}

#[test]
fn a_reply_counts_for_what_is_new_in_it() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    let header = ResultsHeader::default();
    wire::put_results_header(scene.page.area(), &header);
    assert_eq!(scene.begin(0, 0), Begun::Yes);
    let end = wire::RESULTS_HEADER_BYTES;
    let end = wire::put_record(scene.page.area(), end, wire::Status::Ok, b"x").unwrap();
    scene.page.commit(end);
    assert!(scene.take_late().is_some());
    assert_eq!(scene.results(0, 0, 3), Ok(2));
    assert_eq!(scene.results(0, 3, 1), Ok(1));
    assert!(scene.results(0, 4, 0).is_err(), "the frame is over");
}

#[test]
fn a_seat_that_is_vacant_has_nothing_late() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    assert!(scene.seat.could_be_late());
    scene.seat.link = None;
    assert!(!scene.seat.could_be_late(), "the clock would be looked at for ever");
}

#[test]
fn a_reply_that_is_refused_leaves_the_page_to_be_salvaged() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    let header = ResultsHeader::default();
    wire::put_results_header(scene.page.area(), &header);
    assert_eq!(scene.begin(0, 0), Begun::Yes);
    let end = wire::RESULTS_HEADER_BYTES;
    let end = wire::put_record(scene.page.area(), end, wire::Status::Ok, b"x").unwrap();
    scene.page.commit(end);
    assert!(scene.results(7, 0, 1).is_err());
    assert!(scene.salvage().is_some());
    assert_eq!(scene.results(0, 0, 1), Ok(1));
    assert!(scene.salvage().is_none(), "it was heard");
}

const FULL: u64 = FULL_ITEMS;

/// Frames of 4, 64 and 64 items; three of the first are begun and one is answered.
fn scene_of_three_frames() -> Scene {
    let mut scene = Scene::new(&[1; 3 * FULL as usize]);
    for (frame_no, items) in [(0, 4), (1, FULL), (2, FULL)] {
        scene.queue(FULL * frame_no, items);
        assert_ne!(scene.plan(), "nothing");
    }
    for position in 0..3 {
        assert_eq!(scene.begin(0, position), Begun::Yes);
    }
    assert_eq!(scene.results(0, 0, 1), Ok(1));
    scene
}

#[test]
fn items_whose_results_cannot_be_had_were_begun() {
    let mut scene = scene_of_three_frames();
    assert!(scene.salvage().is_none());
    assert_eq!(scene.seat.may_have_begun(), 2, "those that follow were not");
    // The reply that would have ended this frame was refused, and the worker went on.
    assert!(scene.results(7, 0, 3).is_err());
    scene.seat.violation = Some("news of another frame".to_owned());
    assert_eq!(scene.seat.may_have_begun(), 2);
    assert_eq!((scene.begin(1, 0), scene.begin(1, 1)), (Begun::Yes, Begun::Yes));
    assert_eq!(scene.seat.may_have_begun(), 3 + 2, "who begins a frame has ended those before");
    // So it is if its replies went elsewhere.
    scene.seat.violation = None;
    assert_eq!(scene.seat.may_have_begun(), 3 + 2);
}

#[test]
fn nothing_is_unstarted_by_the_word_of_a_damaged_page() {
    let mut scene = scene_of_three_frames();
    scene.page.damage(0, Some(u64::MAX), None);
    scene.page.damage(2, Some(u64::MAX), None);
    assert_eq!(scene.seat.may_have_begun(), 3, "it did not come to the frames that follow");
    scene.seat.violation = Some("it may have come anywhere".to_owned());
    assert_eq!(scene.seat.may_have_begun(), 3 + FULL + FULL);
    assert_eq!(scene.seat.reclaim(), 0);
}

#[test]
fn a_damaged_note_says_nothing_of_frames_that_follow() {
    let mut scene = scene_of_three_frames();
    scene.page.damage(0, Some(u64::MAX), None);
    scene.seat.violation = Some("it may have come anywhere".to_owned());
    assert_eq!(scene.seat.may_have_begun(), 3);
    assert_eq!(scene.seat.reclaim(), FULL + FULL);
    assert_eq!(scene.seat.may_have_begun(), 3);
}

#[test]
fn a_page_that_knows_less_than_was_answered_gives_nothing_back() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    for position in 0..3 {
        assert_eq!(scene.begin(0, position), Begun::Yes);
    }
    assert_eq!(scene.results(0, 0, 2), Ok(2));
    scene.page.damage(0, Some(1), None);
    assert_eq!(scene.seat.reclaim(), 0);
    assert_eq!(scene.seat.may_have_begun(), 2, "neither of them is known not to have begun");
}

#[test]
fn who_dies_as_it_should_owes_one_begun_item_at_most() {
    let mut scene = scene_of_three_frames();
    assert_eq!(scene.results(0, 1, 1), Ok(1));
    assert_eq!(scene.seat.may_have_begun(), 1);
    assert_eq!(scene.results(0, 2, 1), Ok(1));
    assert_eq!(scene.seat.may_have_begun(), 0);
    assert_eq!(scene.seat.reclaim(), 1 + FULL + FULL);
}

#[test]
fn what_is_sent_while_it_is_read_is_not_late() {
    let mut scene = Scene::new(&[1; 4]);
    scene.queue(0, 4);
    scene.plan();
    wire::put_results_header(scene.page.area(), &ResultsHeader { each: 1, ..ResultsHeader::default() });
    assert_eq!((scene.begin(0, 0), scene.begin(0, 1)), (Begun::Yes, Begun::Yes));
    scene.page.commit(wire::RESULTS_HEADER_BYTES + 1);
    let unsent = scene.seat.late().expect("nothing was heard");
    let bytes = unsent.read().expect("one is finished");
    assert_eq!(scene.results(0, 0, 1), Ok(1));
    assert!(scene.seat.take_late(&unsent, &bytes).is_none(), "it was heard");
    assert_eq!(scene.results(0, 1, 3), Ok(3));
}
