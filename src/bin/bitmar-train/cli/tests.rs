use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_parses() {
    let lines = [
        "tokenizer --data d --out tokenizer.json",
        "text --data d --out runs --steps 1800 --batch-size 32 --rate 0.0015 --dropout 0.1",
        "vision --from runs/text.safetensors --teacher lite0 --teacher lite3:f --sentences s",
        "captions --from a --from b --teacher lite2 --label-captions f --workers 2 --seed 3",
        "critical --init m --tokenizer t --without lengths",
        "label-captions --checkpoint a --checkpoint b --label-captions f",
        "all --data d --out runs --steps 3 --trained {}",
        "curves --log l --svg s --title t caption align",
        "memory-reads --checkpoint a --checkpoint b --svg s",
        "export --checkpoint a --model m --trained {}",
        "eval --checkpoint a --photos 1000 --beams 3 --on-train --list --teacher lite2",
        "eval-memory --data d --model m --photos 1000",
        "probe --model m --checkpoint a --teacher lite0",
    ];
    for line in lines {
        let words = ["bitmar-train"].into_iter().chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_ok(), "{line}");
    }
    let covered = |name: &str| lines.iter().any(|line| line.split(' ').next() == Some(name));
    assert!(Cli::command().get_subcommands().all(|command| covered(command.get_name())));
}

#[test]
fn an_option_that_a_command_does_not_read_is_refused() {
    for line in [
        "text --teacher lite2",
        "vision --label-captions f",
        "eval --batch-size 3",
        "eval --model m --checkpoint a",
        "captions --resume --steps 3",
        "captions --without patch",
        "eval-memory --photos 199",
        "export --model m",
    ] {
        let words = ["bitmar-train"].into_iter().chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}
