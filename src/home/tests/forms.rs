//! Forms: publications are encoded as events where somebody wants them so, each once, and not a turn longer.

use super::*;
use crate::transport::events;

/// One subscribe that wants publications in that form.
fn subscribe_in(home: &mut Home, name: &str, shard: u16, form: Form, watch: Option<u32>) {
    home.handle_subscribe(Subscribe {
        topic: topic(name),
        shard: ShardId(shard),
        conn: conn(u32::from(shard)),
        user: None,
        permit: Permit::default(),
        slot: 3,
        watch,
        serial: 1,
        id: Id::None,
        from: From::Now,
        form,
    });
}

/// Ends the turn; by batch, what there is as frames and what as events, by topic. All shards get the same batch.
fn hear_forms(home: &mut Home, shard: u16) -> Vec<(String, String)> {
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(shard)));
    let batches = parcel.items.iter().filter_map(|item| match item {
        Delivery::Batch { batch, .. } => Some(batch),
        _ => None,
    });
    batches.map(|batch| (units(batch, Form::Frames), units(batch, Form::Events))).collect()
}

/// `a:1,2 b:7`; of members `$presence/a:+`.
fn units(batch: &Arc<Batch>, form: Form) -> String {
    let Some(batch) = batch.in_form(form) else { return String::new() };
    let mut runs = Vec::new();
    let mut end = 0;
    for run in &batch.runs {
        let (name, mut rest, mut said) = (run.name.text(&batch.bytes), run.frames.of(&batch.bytes), Vec::new());
        assert_eq!(run.frames.start, end, "side by side, in the order of the runs");
        end = run.frames.end;
        while !rest.is_empty() {
            let (unit, behind) = rest.split_at(form.unit_len(rest));
            said.push(match form {
                Form::Frames | Form::Deflated => object(&unit[encode::frame_header_len(unit)..]),
                Form::Events => {
                    let data = unit.windows(6).position(|six| six == b"data: ").expect("data");
                    if run.publications > 0 {
                        let (position, of) = events::publication_of(unit).expect("a publication");
                        assert_eq!(of, &*publication::quoted(name));
                        assert_eq!(form.offset_of(unit, 0), position.offset);
                    }
                    object(&unit[data + 6..])
                }
            });
            rest = behind;
        }
        if !said.is_empty() {
            runs.push(format!("{name}:{}", said.join(",")));
        }
    }
    runs.join(" ")
}

fn object(json: &[u8]) -> String {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<serde_json::Value>();
    let value = values.next().expect("an object").expect("JSON");
    match value["position"].as_str() {
        Some(position) => position.split_once(':').expect("a position").1.to_owned(),
        None => value["op"].as_str().expect("an op")[..1].to_owned(),
    }
}

fn both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

fn frames_only(text: &str) -> (String, String) {
    (text.to_owned(), String::new())
}

#[test]
fn events_are_encoded_where_somebody_wants_them_and_each_once() {
    let mut home = plain(3, 1);
    subscribe_in(&mut home, "a", 0, Form::Frames, None);
    subscribe_in(&mut home, "b", 0, Form::Frames, None);
    publish(&mut home, "a");
    assert_eq!(hear_forms(&mut home, 0), [frames_only("a:1")]);
    for shard in [1, 2, 1] {
        subscribe_in(&mut home, "b", shard, Form::Events, None);
    }
    for name in ["b", "a", "b", "nobody", "a", "b"] {
        publish(&mut home, name);
    }
    assert_eq!(hear_forms(&mut home, 0), [("b:1,2,3 a:2,3".to_owned(), "b:1,2,3".to_owned())]);
}

#[test]
fn a_subscribe_in_the_middle_of_a_turn_begins_there_in_its_form() {
    let mut home = plain(1, 1);
    subscribe_in(&mut home, "a", 0, Form::Frames, None);
    publish(&mut home, "a");
    subscribe_in(&mut home, "a", 0, Form::Events, None);
    publish(&mut home, "a");
    home.handle_watch(ShardId(0), filter("b"), 1, Form::Events);
    publish(&mut home, "a");
    assert_eq!(hear_forms(&mut home, 0), [frames_only("a:1"), both("a:2"), both("a:3")]);
}

#[test]
fn the_last_interest_in_a_topic_takes_its_forms_with_it() {
    let mut home = plain(2, 1);
    subscribe_in(&mut home, "a", 0, Form::Events, None);
    subscribe_in(&mut home, "a", 1, Form::Frames, None);
    publish(&mut home, "a");
    home.handle_release(ShardId(0), topic("a"));
    hear_forms(&mut home, 1);
    home.handle_release(ShardId(1), topic("a"));
    subscribe_in(&mut home, "a", 1, Form::Frames, None);
    publish(&mut home, "a");
    assert_eq!(hear_forms(&mut home, 1), [frames_only("a:2")]);
    subscribe_in(&mut home, "a", 0, Form::Events, None);
    publish(&mut home, "a");
    assert_eq!(hear_forms(&mut home, 1), [both("a:3")], "and who comes back has them again");
}

#[test]
fn a_filter_wants_its_forms_of_all_that_matches_until_it_is_unwatched() {
    let mut home = plain(2, 1);
    subscribe_in(&mut home, "chat/1", 0, Form::Frames, None);
    home.handle_watch(ShardId(0), filter("chat/#"), 1, Form::Frames);
    publish(&mut home, "chat/1");
    assert_eq!(hear_forms(&mut home, 0), [frames_only("chat/1:1")]);
    home.handle_watch(ShardId(1), filter("chat/#"), 1, Form::Events);
    publish(&mut home, "chat/1");
    publish(&mut home, "chat/2");
    assert_eq!(hear_forms(&mut home, 0), [both("chat/1:2 chat/2:1")]);
    home.handle_unwatch(ShardId(0), filter("chat/#"));
    home.handle_unwatch(ShardId(1), filter("chat/#"));
    home.handle_watch(ShardId(0), filter("chat/#"), 1, Form::Frames);
    publish(&mut home, "chat/1");
    assert_eq!(hear_forms(&mut home, 0), [frames_only("chat/1:3")]);
}

#[test]
fn who_comes_and_goes_is_told_in_the_forms_of_those_who_are_told() {
    let rule = crate::rules::Rule { filter: "#".to_owned(), presence: true, ..Default::default() };
    let mut home = Home::new(ShardId(0), 2, Rc::new(Rules::new(vec![rule])), usize::MAX, 1);
    subscribe_in(&mut home, "a", 0, Form::Frames, Some(4));
    assert_eq!(hear_forms(&mut home, 0), [frames_only("$presence/a:j")]);
    subscribe_in(&mut home, "a", 1, Form::Events, Some(4));
    publish(&mut home, "a");
    home.handle_leave(ShardId(1), topic("a"), conn(1));
    assert_eq!(hear_forms(&mut home, 0), [both("$presence/a:j a:1"), both("$presence/a:l")]);
}

#[test]
fn what_one_connection_is_not_to_get_is_known_in_every_form() {
    let mut home = plain(1, 1);
    subscribe_in(&mut home, "a", 0, Form::Frames, None);
    subscribe_in(&mut home, "b", 0, Form::Events, None);
    subscribe_in(&mut home, "a", 0, Form::Events, None);
    publish(&mut home, "b");
    publish_by(&mut home, "a", 0, conn(7), false);
    publish(&mut home, "b");
    publish_by(&mut home, "a", 0, conn(7), true);
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    let Some(Delivery::Batch { batch, .. }) = parcel.items.last() else { panic!("{parcel:?}") };
    for form in [Form::Frames, Form::Events] {
        let batch = batch.in_form(form).expect("wanted");
        let [except] = batch.exceptions[..] else { panic!("{:?}", batch.exceptions) };
        assert_eq!(except.conn, conn(7));
        let run = batch.runs[except.run as usize];
        assert_eq!(run.name.text(&batch.bytes), "a");
        assert_eq!(except.frame.start, run.frames.start, "the first of two");
        assert_eq!(except.frame.len(), form.unit_len(run.frames.of(&batch.bytes)));
    }
}
