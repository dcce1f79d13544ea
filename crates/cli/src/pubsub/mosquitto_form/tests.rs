//! Command lines and what they mean.

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn understood(program: Program, line: &str) -> Settings {
    parse(program, Vec::new(), words(line)).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

#[test]
fn a_publish_is_understood() {
    let settings = understood(
        Program::Pub,
        "-h h -p 7 -t a/b -m -x -q 2 -r -i me -u u -P p -k 5 -V mqttv5 -D publish user-property k v --repeat 3",
    );
    let Job::Pub(job) = &settings.job else { panic!("{settings:?}") };
    assert_eq!(settings.connection.address().endpoint.to_string(), "mqtt://h:7");
    assert_eq!(job.payload, Payload::Text(b"-x".to_vec()));
    assert_eq!((job.topic.as_str(), job.qos, job.retain, job.repeat), ("a/b", QoS::ExactlyOnce, true, 3));
    assert_eq!(job.properties.user().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(settings.connection.version, Version::V5);
}

#[test]
fn a_subscription_is_understood() {
    let settings =
        understood(Program::Sub, "-t a/# -t b/+ -T a/x -U c -v -C 3 -W 2 -c -i me -V 5 --random-filter 50");
    let Job::Sub(job) = &settings.job else { panic!("{settings:?}") };
    assert_eq!(job.filters, ["a/#", "b/+"]);
    assert_eq!((job.count, job.random), (Some(3), Some(5000)));
    assert_eq!(job.output.form, Form::Verbose);
    assert_eq!(settings.connection.session_expiry, Some(u32::MAX), "-c is a session without end in MQTT 5");
    assert_eq!(understood(Program::Sub, "-L mqtt://h/x/y").job_filters(), ["x/y"]);
}

impl Settings {
    fn job_filters(&self) -> Vec<String> {
        match &self.job {
            Job::Sub(job) => job.filters.clone(),
            _ => Vec::new(),
        }
    }
}

#[test]
fn mistakes_are_told_in_the_words_of_the_original() {
    for (program, line, want) in [
        (Program::Pub, "-t a", "Error: Both topic and message must be supplied."),
        (Program::Pub, "-m a", "Error: Both topic and message must be supplied."),
        (Program::Pub, "-t a/# -m a", "Error: Invalid publish topic 'a/#', does it contain '+' or '#'?"),
        (Program::Pub, "--bogus", "Error: Unknown option '--bogus'."),
        (Program::Pub, "-x", "Error: -x argument given but no session expiry interval specified.\n"),
        (Program::Pub, "-q 3 -t a -m b", "Error: Invalid QoS given: 3"),
        (Program::Pub, "-V 9", "Error: Invalid protocol version argument given.\n"),
        (Program::Sub, "", "Error: You must specify a topic to subscribe to."),
        (Program::Sub, "-t a -F %d", "Error: Invalid format specifier 'd'."),
        (Program::Sub, "-t a -F %", "Error: Incomplete format specifier."),
        (Program::Sub, "-t a -r", "Error: Unknown option '-r'."),
        (Program::Rr, "-t a", "Error: All of topic, message, and response topic must be supplied."),
        (Program::Sub, "-t a -c", "Error: You must provide a client id if you are using the -c option."),
        (Program::Sub, "-t a --psk aa", "Error: --psk is not supported."),
    ] {
        assert_eq!(parse(program, Vec::new(), words(line)).err(), Some(Stop::Wrong(want.into())), "{line}");
    }
    assert_eq!(parse(Program::Pub, Vec::new(), words("--help")).err(), Some(Stop::Help));
}

#[test]
fn a_configuration_file_gives_defaults() {
    let text = "# mine\n-h  myhost\n--cafile /a b.pem\n-D publish user-property k v\n-v\n";
    let defaults = configuration(text);
    let expected = ["-h", "myhost", "--cafile", "/a b.pem", "-D", "publish", "user-property", "k", "v", "-v"];
    assert_eq!(defaults, expected);
    let settings = parse(Program::Sub, words("-h myhost -t x"), words("-h other -t y")).unwrap();
    assert_eq!(settings.connection.host.as_deref(), Some("other"));
    assert_eq!(settings.job_filters(), ["x", "y"]);
}
