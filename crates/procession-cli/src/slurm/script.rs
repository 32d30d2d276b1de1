//! The batch scripts themselves: text for people to read and for bash to run.

use std::fmt::Write as _;
use std::time::Duration;

use crate::reproduce::quoted;

/// What all scripts of a submission are made of. Its paths are absolute, and text.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) name: String,
    pub(super) program: String,
    pub(super) cwd: String,
    pub(super) run_dir: String,
    /// What is typed behind `run` to run the job.
    pub(super) run: Vec<String>,
    /// Where values and failures go in the end, as flags.
    pub(super) results: Vec<String>,
    /// Workers on each node, if not one for each core that there is.
    pub(super) workers: Option<usize>,
    pub(super) cpus: Option<usize>,
    pub(super) memory: Option<u64>,
    pub(super) time: Option<Duration>,
    pub(super) drain: Duration,
    /// More options of sbatch.
    pub(super) options: Vec<String>,
}

/// Options of sbatch that say where a job may run, not what it needs: they are the merge's, too.
const OF_PLACES: [&str; 11] = [
    "--partition",
    "-p",
    "--account",
    "-A",
    "--qos",
    "-q",
    "--reservation",
    "--clusters",
    "-M",
    "--constraint",
    "-C",
];

impl Batch {
    /// The job on one node, where a broker would have nothing to do.
    pub(super) fn on_one_node(&self) -> String {
        let mut script = self.head("The job, with a worker on each core of one node.");
        self.node_options(&mut script, "--nodes=1 --ntasks=1");
        self.ending_options(&mut script, "slurm-%j.log");
        self.places(&mut script);
        let run = self.words(&self.results);
        let _ = write!(script, "\nexec \"$program\" run{run} --run-dir \"$run_dir\" --resume-or-start\n");
        script
    }

    /// One job over many nodes: a broker and the master on the first, an agent on each.
    pub(super) fn over_nodes(&self, nodes: usize, broker: &str) -> String {
        let mut script = self.head("A broker and the job on the first node, and an agent on every node.");
        self.node_options(&mut script, &format!("--nodes={nodes} --ntasks-per-node=1"));
        self.ending_options(&mut script, "slurm-%j.log");
        self.places(&mut script);
        let workers = self.workers.map_or_else(String::new, |workers| format!(" --workers {workers}"));
        let _ = write!(
            script,
            r#"
scratch=$(mktemp -d "${{TMPDIR:-/tmp}}/procession-broker-$SLURM_JOB_ID.XXXXXX") || exit 74
log=$run_dir/broker-$SLURM_JOB_ID.log
broker='' agents='' job='' told=''

# Asks again and again: the step may be yet to begin. A signal for srun itself would kill the agents.
end_agents() {{
    for _ in $(seq 100); do
        kill -0 "$agents" || return
        scancel --signal=TERM "$SLURM_JOB_ID.0"
        for _ in $(seq 10); do kill -0 "$agents" && sleep 0.1; done
    done
    kill -TERM "$agents"
}}
clean_up() {{
    [ -z "$job" ] || {{ kill -TERM "$job" && wait "$job"; }}
    [ -z "$agents" ] || end_agents
    [ -z "$broker" ] || kill -TERM "$broker"
    rm -rf "$scratch"
}}
trap 'clean_up 2> /dev/null' EXIT

# An address that the other nodes reach: the name of a machine may lead to itself alone.
host=${{PROCESSION_BROKER_HOST:-$(getent ahostsv4 "$(hostname)" | awk '$1 !~ /^127[.]/ {{ print $1; exit }}')}}
host=${{host:-$(hostname -I | cut -d' ' -f1)}}
host=${{host:-127.0.0.1}}

# The broker asks for a password that is made for this job, and is known to nobody else.
unset PROCESSION_NATS_TOKEN_FILE PROCESSION_NATS_NKEY_FILE PROCESSION_NATS_CREDENTIALS_FILE PROCESSION_NATS_CA_FILE
PROCESSION_NATS_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export PROCESSION_NATS_TOKEN
(umask 077 && cat > "$scratch/broker.conf") <<END || exit 74
host: "$host"
port: -1
ports_file_dir: "$scratch"
log_file: "$log"
authorization {{ token: "$PROCESSION_NATS_TOKEN" }}
jetstream {{ store_dir: "$scratch/jetstream" }}
END
{broker} --config "$scratch/broker.conf" &
broker=$!
for _ in $(seq 300); do
    port=$(cat "$scratch"/*.ports 2> /dev/null | tr -d ' \n' | sed -n 's/.*"nats":\["[^"]*:\([0-9]*\)".*/\1/p')
    [ -z "$port" ] && kill -0 "$broker" 2> /dev/null || break
    sleep 0.1
done
[ -n "$port" ] || {{ echo "the broker does not come up: see $log" >&2; exit 70; }}
engine=nats://$host:$port

srun --export=ALL --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 --wait=0 --cpu-bind=none \
    "$program" agent --engine "$engine"{workers} &
agents=$!

# Slurm says when the time is nearly up: then the job begins nothing new.
trap 'told=1; [ -z "$job" ] || kill -TERM "$job"' TERM
"$program" run{run} \
    --run-dir "$run_dir" --resume-or-start --engine "$engine" &
job=$!
[ -z "$told" ] || kill -TERM "$job"
lost=''
while kill -0 "$job" 2> /dev/null; do
    if [ -z "$lost" ] && ! {{ kill -0 "$agents" && kill -0 "$broker"; }} 2> /dev/null; then
        lost=1
        echo "all agents have ended, or the broker has: the job ends, and goes on when it is submitted again; see $log" >&2
        # To finish what runs there would have to be somebody.
        for signal in TERM TERM KILL; do kill -$signal "$job" 2> /dev/null && sleep 5; done &
    fi
    wait -n
done
wait "$job"; status=$?
job=''
[ -z "$lost" ] || status=70
exit "$status"
"#,
            broker = quoted(broker),
            run = self.words(&self.results),
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
        let run = self.words(&[]);
        let _ = write!(
            script,
            r#"
i=$SLURM_ARRAY_TASK_ID
n={shards}
# What comes of it is in its run directory, for the merge to write.
exec "$program" run{run} --shard "$i/$n" \
    --run-dir "$run_dir/$i-of-$n" --resume-or-start \
    --output /dev/null --format jsonl --failures /dev/null > /dev/null
"#
        );
        script
    }

    /// What is run once all shards have ended.
    pub(super) fn merge(&self, shards: usize) -> String {
        let mut script =
            self.head("Puts the results of all shards in order. Submitted to run once all have ended.");
        script.push_str("#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --requeue --open-mode=append\n");
        self.time_option(&mut script);
        self.output_option(&mut script, "merge-%j.log");
        let of_places = |option: &&String| OF_PLACES.contains(&option_name(option));
        self.options.iter().filter(of_places).for_each(|option| user_option(&mut script, option));
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
        self.time_option(script);
        let drain = whole_seconds(self.drain);
        let _ = writeln!(script, "#SBATCH --signal=B:TERM@{drain} --requeue --open-mode=append");
        self.output_option(script, log);
        self.options.iter().for_each(|option| user_option(script, option));
    }

    fn time_option(&self, script: &mut String) {
        if let Some(time) = self.time {
            let _ = writeln!(script, "#SBATCH --time={}", clock(time));
        }
    }

    fn output_option(&self, script: &mut String, log: &str) {
        // Slurm fills in what stands behind a per cent sign.
        let path = format!("{}/{log}", self.run_dir.replace('%', "%%"));
        let _ = writeln!(script, "#SBATCH --output={}", option_value(&path));
    }

    fn places(&self, script: &mut String) {
        let [cwd, program, run_dir] = [&self.cwd, &self.program, &self.run_dir].map(|path| quoted(path));
        let _ = write!(script, "\ncd {cwd} || exit 74\nprogram={program}\nrun_dir={run_dir}\n");
    }

    fn words(&self, more: &[String]) -> String {
        format!("{}{}", words(&self.run), words(more))
    }
}

fn words(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", quoted(word))).collect()
}

/// What an option of sbatch is called.
pub(super) fn option_name(option: &str) -> &str {
    let name = option.split(['=', ' ']).next().unwrap_or_default();
    // A short one may have its value behind it.
    if name.starts_with("--") { name } else { name.get(..2).unwrap_or(name) }
}

fn user_option(script: &mut String, option: &str) {
    let _ = match option.split_once('=').filter(|(name, _)| name.starts_with("--")) {
        Some((name, value)) => writeln!(script, "#SBATCH {name}={}", option_value(value)),
        None => writeln!(script, "#SBATCH {option}"),
    };
}

/// The value of an option in a line of `#SBATCH`, where spaces, quotes and number signs mean something.
fn option_value(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,[]*&|".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// No less than it is.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A time as Slurm reads it: hours, minutes, seconds.
fn clock(time: Duration) -> String {
    let seconds = whole_seconds(time);
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
            workers: Some(6),
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
                "--nodes=8 --ntasks-per-node=1 --exclusive --mem=0",
                "--time=02:01:30",
                "--signal=B:TERM@300 --requeue --open-mode=append",
                "--output=\"/home/me/mon day/slurm-%j.log\"",
                "--partition=short",
            ]
        );
        assert!(script.contains("agent --engine \"$engine\" --workers 6 &"), "{script}");
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
    fn a_merge_runs_where_the_job_may_and_needs_less() {
        let chosen = ["-p short", "--gres=gpu:8", "--account=me"].map(str::to_owned).to_vec();
        let script = Batch { options: chosen, ..batch() }.merge(3);
        let options = options(&script);
        assert_eq!(options[1], "--nodes=1 --ntasks=1 --cpus-per-task=1 --requeue --open-mode=append");
        assert_eq!(options[2], "--time=02:01:30");
        assert_eq!(options[4..], ["-p short", "--account=me"]);
    }

    #[test]
    fn values_of_options_survive_slurms_quotes() {
        let mut script = String::new();
        for option in ["--comment=it's \"so\" #1", "--array=1-3%2", "-p short", "--mail-type=END"] {
            user_option(&mut script, option);
        }
        assert_eq!(
            options(&script),
            [r#"--comment="it's \"so\" #1""#, "--array=1-3%2", "-p short", "--mail-type=END"]
        );
        assert_eq!(
            ["--array=1-3", "-a1", "-p short", "--wrap"].map(option_name),
            ["--array", "-a", "-p", "--wrap"]
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
        let run =
            r#"exec "$program" run job.toml --set 'pool.env.A='\''x y'\''' --output values.csv --run-dir"#;
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
