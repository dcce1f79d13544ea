//! A memory budget that is exceeded from the start.

use tercet_interop::{Broker, Connect, Publish, Wire};

#[test]
fn publishers_are_slowed_down_but_served() {
    let broker = Broker::configured("[limits]\nmemory = \"1MiB\"\n");
    broker.await_line("memory budget exceeded");
    let mut reader = Wire::connect(&broker, &Connect::v5("reader"));
    reader.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("publisher"));
    for n in 0..3 {
        assert_eq!(publisher.publish(Publish::new("t", n.to_string()).qos(1)), 0);
        assert_eq!(reader.take().1, n.to_string());
    }
}
