package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/policy"
)

// shells are those that completion writes a script for.
var shells = map[string]func(io.Writer, []completed){
	"bash": completeBash,
	"zsh":  completeZsh,
	"fish": completeFish,
}

// newCompletion is a function, since it reads the list that it stands in.
func newCompletion() *command {
	return &command{
		name:    "completion",
		args:    "bash|zsh|fish",
		summary: "print a shell's completion script",
		details: `
Prints the script that lets a shell complete commands, flags, files, and what
recourse explain takes:

  bash  source <(recourse completion bash)
  zsh   source <(recourse completion zsh)
  fish  recourse completion fish | source
`,
		setup: func(*flag.FlagSet) func(*call) int {
			return func(c *call) int {
				if len(c.args) != 1 {
					return c.misused("want one of bash, zsh, fish")
				}
				write := shells[c.args[0]]
				if write == nil {
					return c.misused("want one of bash, zsh, fish, got %q", c.args[0])
				}
				write(c.stdout, completions())
				return exitOK
			}
		},
	}
}

// completed is a command as a completion script knows it.
type completed struct {
	name, summary string
	flags         []flagLine
	words         []string // arguments that are no files
	keys          []keyed  // arguments KEY=VALUE
	files         bool     // takes files
}

// keyed is an argument KEY=VALUE.
type keyed struct {
	key    string
	values []string // nil = anything
}

// explainKeys are what explain takes, as completion offers it.
func explainKeys() []keyed {
	var providers []string
	for _, p := range policy.Builtin().Policies() {
		providers = append(providers, p.Name)
	}
	yesNo := []string{"true", "false"}
	values := map[string][]string{
		"provider": providers, "idempotent": yesNo, "sent": yesNo,
		"protocol":    {"http", "smtp", "imap"},
		"method":      {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "REPORT", "PROPFIND"},
		"imap_status": {"OK", "NO", "BAD", "BYE", "PREAUTH"},
		"network":     {"timeout", "dns", "connect", "reset", "eof", "tls", "canceled", "other"},
	}
	var list []keyed
	for _, name := range factNames {
		list = append(list, keyed{name, values[name]})
	}
	return list
}

// keyWords are a command's keys, each with its "=".
func (c *completed) keyWords() string {
	var words []string
	for _, k := range c.keys {
		words = append(words, k.key+"=")
	}
	return strings.Join(words, " ")
}

func completions() []completed {
	var all []completed
	for _, c := range commands() {
		one := completed{name: c.name, summary: c.summary, files: strings.Contains(c.args, "FILE")}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.setup(fs)
		one.flags = flagsOf(fs)
		if !one.files && strings.Contains(c.args, "|") {
			one.words = strings.Split(strings.Trim(c.args, "[]"), "|")
		}
		if c.name == explainCommand.name {
			one.keys = explainKeys()
		}
		all = append(all, one)
	}
	return append(all, completed{name: "help", summary: "explain a command", words: commandNames()})
}

func names(all []completed) []string {
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	return list
}

func completeBash(w io.Writer, all []completed) {
	fmt.Fprintf(w, `# bash completion for recourse; written by "recourse completion bash".
_recourse() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
	COMPREPLY=()
	if [ "$cur" = "=" ]; then # for bash NAME=VALUE is three words
		cur= prev+="="
	elif [ "$prev" = "=" ]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}=
	fi
	case $prev in --*) prev=${prev%%=} ;; esac
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W "%s" -- "$cur"))
		return
	fi
	case "${COMP_WORDS[1]} $prev" in
`, strings.Join(names(all), " "))
	for _, c := range all {
		for _, f := range c.flags {
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, "\t\"%s --%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", c.name, f.name, strings.Join(f.values, " "))
			case f.takesValue && strings.HasSuffix(f.form, " DIR"):
				fmt.Fprintf(w, "\t\"%s --%s\") COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", c.name, f.name)
			case f.takesValue:
				fmt.Fprintf(w, "\t\"%s --%s\") return ;;\n", c.name, f.name)
			}
		}
	}
	for _, c := range all {
		for _, k := range c.keys {
			if k.values != nil {
				fmt.Fprintf(w, "\t\"%s %s=\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", c.name, k.key, strings.Join(k.values, " "))
			}
		}
		if c.keys != nil {
			fmt.Fprintf(w, "\t\"%s \"*=) return ;;\n", c.name)
		}
	}
	fmt.Fprint(w, "\tesac\n\tcase \"${COMP_WORDS[1]}\" in\n")
	for _, c := range all {
		words := slices.Clone(c.words)
		for _, f := range c.flags {
			words = append(words, "--"+f.name)
		}
		if c.keys != nil {
			words = append(words, c.keyWords())
		}
		fmt.Fprintf(w, "\t%s) words=\"%s\" ;;\n", c.name, strings.Join(words, " "))
	}
	fmt.Fprint(w, `	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	case "${COMPREPLY[*]}" in *=) compopt -o nospace 2>/dev/null ;; esac
	case "${COMP_WORDS[1]}" in
`)
	var files []string
	for _, c := range all {
		if c.files {
			files = append(files, c.name)
		}
	}
	fmt.Fprintf(w, "\t%s) COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n\tesac\n}\ncomplete -o filenames -F _recourse recourse\n", strings.Join(files, "|"))
}

func completeZsh(w io.Writer, all []completed) {
	fmt.Fprint(w, "#compdef recourse\n# zsh completion for recourse; written by \"recourse completion zsh\".\n_recourse() {\n\tlocal state state_descr line\n\tlocal -a commands=(\n")
	for _, c := range all {
		fmt.Fprintf(w, "\t\t%s\n", quoteShell(c.name+":"+c.summary))
	}
	fmt.Fprint(w, "\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal name=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $name in\n")
	for _, c := range all {
		fmt.Fprintf(w, "\t%s) _arguments", c.name)
		for _, f := range c.flags {
			equals := "" // zsh's "=" is for --flag=value and for --flag value
			if f.takesValue {
				equals = "="
			}
			spec := "--" + f.name + equals + "[" + strings.NewReplacer("[", "(", "]", ")", ":", " ").Replace(f.usage) + "]"
			switch {
			case len(f.values) > 0:
				spec += ":" + f.name + ":(" + strings.Join(f.values, " ") + ")"
			case f.takesValue && strings.HasSuffix(f.form, " DIR"):
				spec += ":directory:_files -/"
			case f.takesValue:
				spec += ":" + f.name + ":"
			}
			fmt.Fprintf(w, " %s", quoteShell(spec))
		}
		switch {
		case c.files:
			fmt.Fprint(w, " '*:file:_files'")
		case len(c.words) > 0:
			fmt.Fprintf(w, " %s", quoteShell("1:argument:("+strings.Join(c.words, " ")+")"))
		case c.keys != nil:
			fmt.Fprint(w, " '*:name:->name'\n\t\tif [[ $state == name ]]; then\n\t\t\tcase $PREFIX in\n")
			for _, k := range c.keys {
				if k.values != nil {
					fmt.Fprintf(w, "\t\t\t%s=*) compset -P '*='; compadd -- %s ;;\n", k.key, strings.Join(k.values, " "))
				}
			}
			fmt.Fprintf(w, "\t\t\t*=*) ;;\n\t\t\t*) compadd -S '' -- %s ;;\n\t\t\tesac\n\t\tfi", c.keyWords())
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprint(w, "\tesac\n}\nif [ \"$funcstack[1]\" = _recourse ]; then _recourse; else compdef _recourse recourse; fi\n")
}

func completeFish(w io.Writer, all []completed) {
	fmt.Fprint(w, "# fish completion for recourse; written by \"recourse completion fish\".\ncomplete -c recourse -f\n")
	for _, c := range all {
		fmt.Fprintf(w, "complete -c recourse -n __fish_use_subcommand -a %s -d %s\n", c.name, quoteShell(c.summary))
		in := fmt.Sprintf("complete -c recourse -n '__fish_seen_subcommand_from %s'", c.name)
		if c.files {
			fmt.Fprintf(w, "%s -F\n", in)
		}
		if len(c.words) > 0 {
			fmt.Fprintf(w, "%s -a %s\n", in, quoteShell(strings.Join(c.words, " ")))
		}
		for _, k := range c.keys {
			words := []string{k.key + "="}
			for _, v := range k.values {
				words = append(words, k.key+"="+v)
			}
			fmt.Fprintf(w, "%s -a %s\n", in, quoteShell(strings.Join(words, " ")))
		}
		for _, f := range c.flags {
			fmt.Fprintf(w, "%s -l %s -d %s", in, f.name, quoteShell(f.usage))
			switch {
			case len(f.values) > 0:
				fmt.Fprintf(w, " -x -a %s", quoteShell(strings.Join(f.values, " ")))
			case f.takesValue && strings.HasSuffix(f.form, " DIR"):
				fmt.Fprint(w, " -x -a '(__fish_complete_directories)'")
			case f.takesValue:
				fmt.Fprint(w, " -x")
			}
			fmt.Fprintln(w)
		}
	}
}

// quoteShell quotes s for bash, zsh and fish alike.
func quoteShell(s string) string {
	return "'" + strings.NewReplacer(`\`, "", "'", "").Replace(s) + "'"
}
