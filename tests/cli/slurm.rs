//! Jobs that are handed to Slurm, which programs of the test stand for: what is submitted is what Slurm would run, and it is run
//! here. `cargo xtask slurm-test` does it with a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::{Finished, example, procession, run, start, within};

/// Programs that are found before others of the same name.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(programs: &[(&str, &str)]) -> Site {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, script) in programs {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/bash\n{script}\n")).expect("the folder can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        Site { folder }
    }

    /// One whose `sbatch` notes its words and gives 17, 18, … as numbers.
    fn accepting() -> Site {
        Site::new(&[(
            "sbatch",
            "echo \"$*\" >> \"${0%/*}/submitted\"; echo $((16 + $(wc -l < \"${0%/*}/submitted\")))",
        )])
    }

    fn path(&self, name: &str) -> String {
        within(&self.folder, name)
    }

    fn find_first(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
    }

    fn submit(&self, words: &[&str]) -> Finished {
        let mut command = procession(&[&["slurm", "submit"], words].concat());
        self.find_first(&mut command);
        start(command).finish()
    }

    fn submitted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("submitted")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a script as Slurm would.
    fn run_script(&self, path: &str, variables: &[(&str, &str)]) -> Finished {
        let mut command = Command::new("bash");
        command.arg(path).envs(variables.iter().copied()).stdin(Stdio::null());
        self.find_first(&mut command);
        start(command).finish()
    }
}

fn refused(end: &Finished, told: &str) {
    assert_eq!(end.code(), Some(2), "{}", end.stderr);
    assert!(end.stderr.contains(told) && end.stdout.is_empty(), "wanted {told} in:\n{}", end.stderr);
}

procession_harness::cases! {
    fn slurm_runs_shards_and_merges_them_to_what_one_run_gives() {
        let (site, job) = (Site::accepting(), example("faults.toml"));
        let dir = site.path("mon day");
        let end = site.submit(&[&job, "--shards", "3", "--cpus", "2", "--run-dir", &dir]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), ""), "{}", end.stderr);
        assert!(end.stderr.contains("submitted as job 17: 3 shards, and job 18 to merge them"), "{}", end.stderr);
        let scripts = ["slurm.sh", "merge.sh"].map(|name| format!("{dir}/{name}"));
        assert_eq!(
            site.submitted(),
            [format!("--parsable {}", scripts[0]), format!("--parsable --dependency=afterany:17 {}", scripts[1])]
        );
        for shard in ["1", "2", "3"] {
            let end = site.run_script(&scripts[0], &[("SLURM_ARRAY_TASK_ID", shard)]);
            assert_eq!(end.stdout, "", "{}", end.stderr);
            // As a job that was preempted begins again: it has nothing left to do.
            let end = site.run_script(&scripts[0], &[("SLURM_ARRAY_TASK_ID", shard)]);
            assert!(end.stderr.contains("of them from before"), "{}", end.stderr);
        }
        let merged = site.run_script(&scripts[1], &[]);
        let whole = run(&["run", &job, "--no-progress"]);
        assert_eq!(merged.code(), whole.code(), "{}", merged.stderr);
        assert_eq!(fs::read_to_string(format!("{dir}/values.jsonl")).expect("it was merged"), whole.stdout);
        let failures = fs::read_to_string(format!("{dir}/failures.jsonl")).expect("it was merged");
        assert!(failures.lines().count() > 0);
    }

    fn slurm_runs_a_job_of_one_node_without_a_broker() {
        let (site, job) = (Site::accepting(), example("powers.toml"));
        let dir = site.path("run");
        let end = site.submit(&[&job, "--nodes", "1", "--run-dir", &dir, "--", "--limit", "3"]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let end = site.run_script(&format!("{dir}/slurm.sh"), &[]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let whole = run(&["run", &job, "--no-progress", "--limit", "3"]);
        assert_eq!(fs::read_to_string(format!("{dir}/values.jsonl")).expect("it was written"), whole.stdout);
    }

    fn slurm_is_told_nothing_of_what_cannot_be() {
        let (site, job) = (Site::accepting(), example("powers.toml"));
        let dir = site.path("run");
        let submit = |words: &[&str]| site.submit(&[&[job.as_str(), "--run-dir", &dir], words].concat());
        refused(&submit(&["--shards", "1000"]), "some would have nothing to do");
        refused(&submit(&["--shards", "2", "--", "--shard", "1/2"]), "--shard is not for the words behind `--`");
        refused(&submit(&["--shards", "2", "--", "--tiemout", "3s"]), "unexpected argument '--tiemout'");
        refused(&submit(&["--shards", "2", "--sbatch", "short"]), "`short` is no option of sbatch");
        refused(&submit(&["--shards", "2", "--", "--events", "events"]), "all shards would write events");
        refused(&submit(&["--shards", "2", "--", "--set", "pool.wrokers=2"]), "wrokers");
        let end = site.submit(&[&job, "--run-dir", "a\"b", "--shards", "2"]);
        refused(&end, "Slurm cannot write to");
        assert!(site.submitted().is_empty() && !fs::exists(&dir).expect("it can be looked for"));
    }

    fn slurm_that_is_missing_or_refuses_is_told_of() {
        let (site, job) = (Site::new(&[("sbatch", "echo 'sbatch: error: invalid partition specified: lnog' >&2; exit 1")]), example("powers.toml"));
        let dir = site.path("run");
        let words = [&job, "--shards", "2", "--run-dir", &dir, "--sbatch=--partition=lnog"];
        refused(&site.submit(&words), "slurm.sh: invalid partition specified: lnog");
        let mut command = procession(&[&["slurm", "submit"], &words[..]].concat());
        command.env("PATH", "/nowhere");
        refused(&start(command).finish(), "cannot run sbatch");
        let end = site.submit(&[&words[..], &["--dry-run"]].concat());
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert!(end.stdout.contains("#SBATCH --partition=lnog\n") && end.stdout.contains(" merge "), "{}", end.stdout);
    }

    #[cfg(feature = "cluster")]
    fn slurm_runs_a_job_over_nodes_with_a_broker_of_its_own() {
        let Some(broker) = crate::broker::server() else {
            return procession_harness::skip("nats-server: run `.ci/nats-server`, or set PROCESSION_NATS_SERVER to one");
        };
        // A node of a kind: srun starts what it is given, and scancel ends that.
        let flags = "while [[ $1 == -* ]]; do shift; done; echo $$ > \"${0%/*}/step\"; exec \"$@\"";
        let submit = "echo 17";
        let site = Site::new(&[("sbatch", submit), ("srun", flags), ("scancel", "kill -TERM $(cat \"${0%/*}/step\")")]);
        let (job, dir) = (example("faults.toml"), site.path("run"));
        let broker = broker.display().to_string();
        let end = site.submit(&[&job, "--nodes", "2", "--run-dir", &dir, "--broker", &broker]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let variables = [("SLURM_JOB_ID", "17"), ("PROCESSION_BROKER_HOST", "127.0.0.1")];
        let end = site.run_script(&format!("{dir}/slurm.sh"), &variables);
        let whole = run(&["run", &job, "--no-progress"]);
        assert_eq!(end.code(), whole.code(), "{}", end.stderr);
        assert_eq!(fs::read_to_string(format!("{dir}/values.jsonl")).expect("it was written"), whole.stdout);
        assert!(!fs::exists(format!("{dir}/broker-17.token")).expect("it can be looked for"), "a secret is left");
        assert!(fs::read_to_string(format!("{dir}/broker-17.log")).is_ok_and(|log| log.contains("JetStream")));
    }

    #[cfg(not(feature = "cluster"))]
    fn slurm_is_given_no_agents_by_a_program_without_them() {
        let site = Site::accepting();
        let end = site.submit(&[&example("powers.toml"), "--nodes", "2", "--run-dir", &site.path("run")]);
        refused(&end, "this program was built without clusters");
    }
}
