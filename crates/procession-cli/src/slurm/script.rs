//! The batch scripts themselves: text for people to read and for bash to run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::reproduce::quoted;

/// What all scripts of a submission are made of. Its paths are absolute.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) cwd: PathBuf,
    pub(super) run_dir: PathBuf,
    /// What is typed behind the program to run the job.
    pub(super) run: Vec<String>,
    /// Where values and failures go in the end, as flags.
    pub(super) results: Vec<String>,
    pub(super) cpus: Option<usize>,
    pub(super) memory: Option<u64>,
    pub(super) time: Option<Duration>,
    pub(super) drain: Duration,
    /// More options of sbatch.
    pub(super) options: Vec<String>,
}

impl Batch {
    /// The job on one node, where a broker would have nothing to do.
    pub(super) fn on_one_node(&self) -> String {
        let mut script = self.head("The job, with a worker on each core of one node.");
        self.node_options(&mut script, "--nodes=1 --ntasks=1");
        self.ending_options(&mut script, "slurm-%j.log");
        self.places(&mut script);
        let run = self.words("run", &self.results);
        let _ = write!(
            script,
            "\nexec \"$program\" {run} \\\n    --run-dir \"$run_dir\" --resume-or-start --no-progress\n"
        );
        script
    }

    /// One job over many nodes: a broker and the master on the first, an agent on each.
    pub(super) fn over_nodes(&self, nodes: usize, broker: &str) -> String {
        let mut script = self.head("A broker and the job on the first node, and an agent on every node.");
        self.node_options(&mut script, &format!("--nodes={nodes} --ntasks-per-node=1 --no-kill"));
        self.ending_options(&mut script, "slurm-%j.log");
        self.places(&mut script);
        let _ = write!(
            script,
            r#"
# The broker asks for a password that only this user can read.
umask 077
scratch=$(mktemp -d "${{TMPDIR:-/tmp}}/procession-broker.XXXXXX") || exit 74
export PROCESSION_NATS_TOKEN_FILE=$run_dir/broker-$SLURM_JOB_ID.token
token=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
printf %s "$token" > "$PROCESSION_NATS_TOKEN_FILE" || exit 74
broker= agents= job=
clean_up() {{
    [ -z "$job" ] || {{ kill -TERM "$job"; wait "$job"; }} 2> /dev/null
    # The agents' step. A signal for srun itself would kill them.
    [ -z "$agents" ] || {{ scancel --signal=TERM "$SLURM_JOB_ID.0"; wait "$agents"; }} 2> /dev/null
    [ -z "$broker" ] || {{ kill -TERM "$broker"; wait "$broker"; }} 2> /dev/null
    rm -rf "$scratch" "$PROCESSION_NATS_TOKEN_FILE"
}}
trap clean_up EXIT

# Where the name of a node leads nowhere from the others, set this to an address that does.
host=${{PROCESSION_BROKER_HOST:-$(hostname)}}
cat > "$scratch/broker.conf" <<END
host: "$host"
port: -1
ports_file_dir: "$scratch"
log_file: "$run_dir/broker-$SLURM_JOB_ID.log"
authorization {{ token: "$token" }}
jetstream {{ store_dir: "$scratch/jetstream" }}
END
{broker} --config "$scratch/broker.conf" &
broker=$!
until port=$(tr -d ' \n' 2> /dev/null < "$scratch"/*.ports | sed -n 's/.*"nats":\["[^"]*:\([0-9]*\)".*/\1/p') && [ -n "$port" ]; do
    kill -0 "$broker" 2> /dev/null || {{ echo "no broker: see $run_dir/broker-$SLURM_JOB_ID.log" >&2; exit 70; }}
    sleep 0.1
done
engine=nats://$host:$port

srun --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 --wait=0 --cpu-bind=none \
    "$program" agent --engine "$engine" &
agents=$!

# Slurm says when the time is nearly up: then the job begins nothing new.
trap '[ -z "$job" ] || kill -TERM "$job"' TERM
"$program" {run} \
    --run-dir "$run_dir" --resume-or-start --no-progress --engine "$engine" &
job=$!
wait "$job"; status=$?
while kill -0 "$job" 2> /dev/null; do wait "$job"; status=$?; done
job=
exit "$status"
"#,
            broker = quoted(broker),
            run = self.words("run", &self.results),
        );
        script
    }

    /// A shard in each element of a job array.
    pub(super) fn in_shards(&self, shards: usize) -> String {
        let mut script =
            self.head("A shard of the job in each element of the array; merge.sh puts them together.");
        self.node_options(&mut script, &format!("--array=1-{shards} --nodes=1 --ntasks=1"));
        self.ending_options(&mut script, "slurm-%A-%a.log");
        self.places(&mut script);
        let run = self.words("run", &[]);
        let _ = write!(
            script,
            r#"
i=$SLURM_ARRAY_TASK_ID
n={shards}
# What comes of it is in its run directory, for the merge to write.
exec "$program" {run} --shard "$i/$n" \
    --run-dir "$run_dir/$i-of-$n" --resume-or-start --no-progress \
    --output /dev/null --format jsonl --failures /dev/null > /dev/null
"#
        );
        script
    }

    /// What is run once all shards have ended.
    pub(super) fn merge(&self, shards: usize) -> String {
        let mut script =
            self.head("Puts the results of all shards in order. Submitted to run once all have ended.");
        script.push_str("#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1\n");
        self.output_option(&mut script, "merge-%j.log");
        self.user_options(&mut script);
        self.places(&mut script);
        let results = words(&self.results);
        let _ = write!(
            script,
            r#"
n={shards}
shards=()
for i in $(seq "$n"); do shards+=("$run_dir/$i-of-$n"); done
exec "$program" merge "${{shards[@]}}"{results}
"#
        );
        script
    }

    fn head(&self, what: &str) -> String {
        format!(
            "#!/bin/bash\n# {what}\n# Written by `slurm submit`, which writes it anew each time.\n#SBATCH --job-name={}\n",
            self.name
        )
    }

    /// What of a node is ours.
    fn node_options(&self, script: &mut String, spread: &str) {
        let mut line = format!("#SBATCH {spread}");
        match self.cpus {
            Some(cpus) => {
                let _ = write!(line, " --cpus-per-task={cpus}");
            }
            None => line.push_str(" --exclusive"),
        }
        match (self.memory, self.cpus) {
            (Some(bytes), _) => {
                let _ = write!(line, " --mem={}M", bytes.div_ceil(1 << 20));
            }
            // All there is: it is nobody else's.
            (None, None) => line.push_str(" --mem=0"),
            (None, Some(_)) => {}
        }
        script.push_str(&line);
        script.push('\n');
    }

    fn ending_options(&self, script: &mut String, log: &str) {
        if let Some(time) = self.time {
            let _ = writeln!(script, "#SBATCH --time={}", clock(time));
        }
        let drain = self.drain.as_secs();
        let _ = writeln!(script, "#SBATCH --signal=B:TERM@{drain} --requeue --open-mode=append");
        self.output_option(script, log);
        self.user_options(script);
    }

    fn output_option(&self, script: &mut String, log: &str) {
        let folder = self.run_dir.display().to_string();
        // Slurm fills in what stands behind a per cent sign.
        let path = format!("{}/{log}", folder.replace('%', "%%"));
        let _ = writeln!(script, "#SBATCH --output={}", option_value(&path));
    }

    fn user_options(&self, script: &mut String) {
        for option in &self.options {
            let _ = writeln!(script, "#SBATCH {option}");
        }
    }

    fn places(&self, script: &mut String) {
        let _ = write!(
            script,
            "\ncd {} || exit 74\nprogram={}\nrun_dir={}\n",
            path(&self.cwd),
            path(&self.program),
            path(&self.run_dir)
        );
    }

    /// The words that run the job. What comes behind its `--` stays behind it.
    fn words(&self, command: &str, more: &[String]) -> String {
        format!("{command}{}{}", words(&self.run), words(more))
    }
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn words(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", quoted(word))).collect()
}

/// The value of an option in a line of `#SBATCH`, which is split at spaces.
fn option_value(value: &str) -> String {
    if value.contains(' ') { format!("\"{value}\"") } else { value.to_owned() }
}

/// A time as Slurm reads it: hours, minutes, seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs().max(1);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A name that Slurm's tables can show.
pub(super) fn job_name(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            name: "falls".to_owned(),
            program: "/home/me/my program".into(),
            cwd: "/home/me/jobs".into(),
            run_dir: "/home/me/mon day".into(),
            run: ["job.toml", "--set", "pool.env.A='x y'"].map(str::to_owned).to_vec(),
            results: ["--output", "values.csv"].map(str::to_owned).to_vec(),
            cpus: None,
            memory: None,
            time: Some(Duration::from_secs(2 * 3600 + 90)),
            drain: Duration::from_secs(300),
            options: vec!["--partition=short".to_owned()],
        }
    }

    fn options(script: &str) -> Vec<&str> {
        script.lines().filter_map(|line| line.strip_prefix("#SBATCH ")).collect()
    }

    #[test]
    fn options_are_slurms_and_the_users_come_last() {
        let script = batch().over_nodes(8, "nats-server");
        assert_eq!(
            options(&script),
            [
                "--job-name=falls",
                "--nodes=8 --ntasks-per-node=1 --no-kill --exclusive --mem=0",
                "--time=02:01:30",
                "--signal=B:TERM@300 --requeue --open-mode=append",
                "--output=\"/home/me/mon day/slurm-%j.log\"",
                "--partition=short",
            ]
        );
        let part = Batch { cpus: Some(4), memory: Some((1 << 30) + 1), time: None, ..batch() };
        let script = part.in_shards(16);
        assert_eq!(
            options(&script)[1..3],
            [
                "--array=1-16 --nodes=1 --ntasks=1 --cpus-per-task=4 --mem=1025M",
                "--signal=B:TERM@300 --requeue --open-mode=append"
            ]
        );
    }

    #[test]
    fn what_slurm_would_fill_in_is_kept_from_it() {
        let script = Batch { run_dir: "/tmp/50%j".into(), ..batch() }.on_one_node();
        assert!(script.contains("#SBATCH --output=/tmp/50%%j/slurm-%j.log\n"), "{script}");
    }

    #[test]
    fn words_reach_the_program_as_they_were_typed() {
        let script = batch().on_one_node();
        let run = r#"exec "$program" run job.toml --set 'pool.env.A='\''x y'\''' --output values.csv"#;
        assert!(script.contains(run), "{script}");
        assert!(
            script.contains("\ncd /home/me/jobs || exit 74\nprogram='/home/me/my program'\n"),
            "{script}"
        );
    }

    #[test]
    fn names_are_fit_for_a_table() {
        assert_eq!(job_name("two words, ä"), "two-words---");
        assert_eq!(clock(Duration::from_millis(1)), "00:00:01");
        assert_eq!(clock(Duration::from_secs(100 * 3600)), "100:00:00");
    }
}
