//! Jobs that are handed to Slurm, which programs of the test stand for: what is submitted is what Slurm would run, and it is run
//! here. `cargo xtask slurm-test` does it with a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

#[cfg(feature = "cluster")]
use nix::sys::signal::Signal;
use tempfile::TempDir;

#[cfg(feature = "cluster")]
use crate::program::Running;
use crate::program::{Finished, example, procession, run, start, within};

/// Nothing of a test takes so long.
#[cfg(feature = "cluster")]
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

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

/// Starts what it is given, as on a node of a kind; scancel ends that.
#[cfg(feature = "cluster")]
const SRUN: &str = "echo \"$*\" > \"${0%/*}/words\"; while [[ $1 == -* ]]; do shift; done; echo $$ > \"${0%/*}/step\"; exec \"$@\"";

/// Nodes that Slurm gave to a job, all of them here.
#[cfg(feature = "cluster")]
struct Allocation {
    site: Site,
}

#[cfg(feature = "cluster")]
impl Allocation {
    /// One with that `srun`; none: there is no broker, and the test says so.
    fn new(srun: &str) -> Option<Allocation> {
        let Some(broker) = crate::broker::server() else {
            procession_harness::skip(
                "nats-server: run `.ci/nats-server`, or set PROCESSION_NATS_SERVER to one",
            );
            return None;
        };
        let scancel = "kill -TERM $(cat \"${0%/*}/step\")";
        let broker = format!("exec {broker:?} \"$@\"");
        let programs = [("sbatch", "echo 17"), ("srun", srun), ("scancel", scancel), ("broker", &broker)];
        Some(Allocation { site: Site::new(&programs) })
    }

    fn submit(&self, job: &str) {
        let (dir, broker) = (self.site.path("run"), self.site.path("broker"));
        let end =
            self.site.submit(&[job, "--nodes", "2", "--cpus", "1", "--run-dir", &dir, "--broker", &broker]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
    }

    fn run(&self) -> Running {
        let mut command = Command::new("bash");
        command.arg(self.site.path("run/slurm.sh")).stdin(Stdio::null());
        let folder = self.site.folder.path();
        command.env("SLURM_JOB_ID", "17").env("PROCESSION_BROKER_HOST", "127.0.0.1").env("TMPDIR", folder);
        self.site.find_first(&mut command);
        start(command)
    }

    fn values(&self) -> String {
        fs::read_to_string(self.site.path("run/values.jsonl")).expect("it was written")
    }

    /// The broker's password and messages are gone.
    fn check_tidy(&self) {
        let entries = fs::read_dir(self.site.folder.path()).expect("it can be read");
        let mut names = entries.map(|entry| entry.expect("it can be read").file_name());
        let left = names.find(|name| name.to_string_lossy().starts_with("procession-broker"));
        assert_eq!(left, None);
    }
}

fn refused(end: &Finished, told: &str) {
    assert_eq!(end.code(), Some(2), "{}", end.stderr);
    assert!(end.stderr.contains(told) && end.stdout.is_empty(), "wanted {told} in:\n{}", end.stderr);
}

procession_harness::cases! {
    fn slurm_runs_shards_and_merges_them_to_what_one_run_gives() {
        let (site, job) = (Site::accepting(), example("faults.toml"));
        let dir = site.path("it's #1");
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
            assert_eq!(end.code(), Some(1), "{}", end.stderr);
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
        let other = site.submit(&[&job, "--shards", "2", "--run-dir", &dir]);
        refused(&other, "in another number of shards (1-of-3)");
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
        refused(&submit(&["--shards", "2", "--", "--limit", "4"]), "--limit would be the limit of each shard");
        refused(&submit(&["--shards", "2", "--", "--failures", "-"]), "failures go to a file");
        refused(&submit(&["--shards", "2", "--", "--help"]), "says nothing of itself");
        refused(&submit(&["--shards", "2", "--", "--", "x"]), "-- is not for the words behind");
        refused(&submit(&["--shards", "2", "--sbatch=--array=1-9"]), "`--array=1-9` is what the script says itself");
        refused(&submit(&["--shards", "2", "--time", "5m"]), "--time of 300 s leaves nothing to run in");
        refused(&submit(&["--shards", "2", "--drain", "2d"]), "--drain is from 1 s to 65535 s");
        refused(&site.submit(&[&job, "--run-dir", "a\nb", "--shards", "2"]), "no script can name the run directory: ");
        // What would be written is what is read.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [spec, values] = ["job.toml", "values.jsonl"].map(|name| within(&folder, name));
        fs::write(&values, "1\n2\n3\n").expect("it can be written");
        let text = format!("task = \"square\"\n[input]\nfile = {values:?}\n");
        fs::write(&spec, text).expect("it can be written");
        let end = site.submit(&[&spec, "--shards", "2", "--run-dir", folder.path().to_str().expect("it is text")]);
        refused(&end, "the items are read from the file that the values go to");
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

    fn slurm_with_a_notice_gives_its_number_all_the_same() {
        let site = Site::new(&[("sbatch", "echo 'Maintenance on Monday'; echo '23;north'; echo careful >&2")]);
        let end = site.submit(&[&example("powers.toml"), "--nodes", "1", "--run-dir", &site.path("run")]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert!(end.stderr.contains("submitted as job 23: 1 node"), "{}", end.stderr);
        assert!(end.stderr.contains("warning: careful"), "{}", end.stderr);
        let site = Site::new(&[("sbatch", "echo done")]);
        let end = site.submit(&[&example("powers.toml"), "--nodes", "1", "--run-dir", &site.path("run")]);
        refused(&end, "no number: done");
    }

    #[cfg(feature = "cluster")]
    fn slurm_runs_a_job_over_nodes_with_a_broker_of_its_own() {
        let Some(site) = Allocation::new(SRUN) else { return };
        let (job, whole) = (example("faults.toml"), run(&["run", &example("faults.toml"), "--no-progress"]));
        site.submit(&job);
        let end = site.run().finish();
        assert_eq!(end.code(), whole.code(), "{}", end.stderr);
        assert_eq!(site.values(), whole.stdout);
        let words = fs::read_to_string(site.site.path("words")).expect("srun was called");
        assert!(words.starts_with("--export=ALL --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 "), "{words}");
        assert!(words.ends_with(" --workers 1\n"), "{words}");
        site.check_tidy();
        // As a job that has nothing left to do: it ends before the agents are there.
        let again = site.run().finish();
        assert_eq!(again.code(), whole.code(), "{}", again.stderr);
        site.check_tidy();
    }

    #[cfg(feature = "cluster")]
    fn slurm_whose_time_is_up_is_gone_on_with() {
        let Some(site) = Allocation::new(SRUN) else { return };
        let (spec, ledger) = (site.site.path("job.toml"), site.site.path("ledger"));
        let text = format!(
            "task = \"faults::note\"\n[pool]\nchunk_size = 1\n[input]\nrepeat = 200\nargs = [{ledger:?}, \"{{index}}\", 0.02]\n"
        );
        fs::write(&spec, text).expect("it can be written");
        let starts = || fs::read_to_string(&ledger).unwrap_or_default().lines().count();
        site.submit(&spec);
        let running = site.run();
        assert!(procession_harness::wait_until(LIMIT, || starts() > 10));
        running.signal(Signal::SIGTERM);
        let end = running.finish();
        assert_eq!(end.code(), Some(143), "{}", end.stderr);
        assert!(starts() < 200, "it had all begun");
        site.check_tidy();
        let end = site.run().finish();
        assert_eq!((end.code(), starts()), (Some(0), 200), "{}", end.stderr);
        assert_eq!(site.values().lines().count(), 200);
    }

    #[cfg(feature = "cluster")]
    fn slurm_without_agents_or_broker_does_not_hold_its_nodes() {
        let Some(site) = Allocation::new("exit 1") else { return };
        site.submit(&example("powers.toml"));
        let end = site.run().finish();
        assert_eq!(end.code(), Some(70), "{}", end.stderr);
        assert!(end.stderr.contains("all agents have ended, or the broker has"), "{}", end.stderr);
        site.check_tidy();
        fs::write(site.site.path("broker"), "#!/bin/bash\nexit 1\n").expect("it can be written");
        let end = site.run().finish();
        assert_eq!(end.code(), Some(70), "{}", end.stderr);
        assert!(end.stderr.contains("the broker does not come up"), "{}", end.stderr);
    }

    #[cfg(not(feature = "cluster"))]
    fn slurm_is_given_no_agents_by_a_program_without_them() {
        let site = Site::accepting();
        let end = site.submit(&[&example("powers.toml"), "--nodes", "2", "--run-dir", &site.path("run")]);
        refused(&end, "this program was built without clusters");
    }
}
