//! What a program that was built without clusters says of them.

use crate::program::{example, run};

procession_harness::cases! {
    fn clusters_are_refused_with_what_is_missing() {
        let job = example("pi.toml");
        let engine = ["--engine", "nats://localhost:4222"];
        for command in [&["run", &job][..], &["agent"], &["jobs"]] {
            let words = &[command, &engine].concat();
            let end = run(words);
            assert_eq!((end.code(), end.stdout.as_str()), (Some(2), ""), "{}", end.stderr);
            assert!(end.stderr.contains("this program was built without clusters"), "{}", end.stderr);
            assert!(end.stderr.contains("the feature `cluster`"), "{}", end.stderr);
        }
    }
}
