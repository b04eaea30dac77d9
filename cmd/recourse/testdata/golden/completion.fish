# fish completion for recourse; written by "recourse completion fish".
complete -c recourse -f
complete -c recourse -n __fish_use_subcommand -a demo -d 'the main job: sync workers against fake providers over local HTTP'
complete -c recourse -n '__fish_seen_subcommand_from demo' -l json -d 'print one JSON object, and no progress'
complete -c recourse -n '__fish_seen_subcommand_from demo' -l seed -d 'decides what goes wrong: the same N, the same faults' -x
complete -c recourse -n '__fish_seen_subcommand_from demo' -l workers -d 'N workers in all, a quarter of them for each provider' -x
complete -c recourse -n __fish_use_subcommand -a check -d 'check policy files: every mistake, with its place and a hint'
complete -c recourse -n '__fish_seen_subcommand_from check' -F
complete -c recourse -n '__fish_seen_subcommand_from check' -l format -d 'how to print what is found' -x -a 'text json github'
complete -c recourse -n '__fish_seen_subcommand_from check' -l strict -d 'let warnings fail too'
complete -c recourse -n __fish_use_subcommand -a test -d 'run the test suites of policies'
complete -c recourse -n '__fish_seen_subcommand_from test' -F
complete -c recourse -n '__fish_seen_subcommand_from test' -l cover -d 'name the rules and conditions that no test needs'
complete -c recourse -n '__fish_seen_subcommand_from test' -l cover-min -d 'fail when less than PCT percent of rules match' -x
complete -c recourse -n '__fish_seen_subcommand_from test' -l format -d 'how to print the outcome' -x -a 'text json junit'
complete -c recourse -n '__fish_seen_subcommand_from test' -l run -d 'only tests whose provider/name matches RE' -x
complete -c recourse -n __fish_use_subcommand -a decide -d 'answer recorded errors: JSON Lines in, one decision a line out'
complete -c recourse -n '__fish_seen_subcommand_from decide' -F
complete -c recourse -n '__fish_seen_subcommand_from decide' -l policies -d 'policies that overlay the built-in ones, from DIR' -x -a '(__fish_complete_directories)'
complete -c recourse -n __fish_use_subcommand -a explain -d 'say which rule decides about a response, and why'
complete -c recourse -n '__fish_seen_subcommand_from explain' -l format -d 'how to print the explanation' -x -a 'text json'
complete -c recourse -n '__fish_seen_subcommand_from explain' -l policies -d 'policies that overlay the built-in ones, from DIR' -x -a '(__fish_complete_directories)'
complete -c recourse -n __fish_use_subcommand -a schema -d 'print the JSON Schema of policy files, or of test suites'
complete -c recourse -n '__fish_seen_subcommand_from schema' -a 'policy suite'
complete -c recourse -n __fish_use_subcommand -a completion -d 'print a shells completion script'
complete -c recourse -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c recourse -n __fish_use_subcommand -a version -d 'print the versions of the command and of its built-in policies'
complete -c recourse -n __fish_use_subcommand -a help -d 'explain a command'
complete -c recourse -n '__fish_seen_subcommand_from help' -a 'demo check test decide explain schema completion version help'
