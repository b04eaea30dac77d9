package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/columns"
	"github.com/recourse-go/recourse/policy"
)

func newList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "list the policies: the built-in ones, and those of your own",
		Long: `Lists the built-in policies, and with --policies those of your own in front of
them: what each speaks, what it extends, how many rules and limits it has with
all that it inherits, and which hosts' requests it decides about. A policy of
your own that has a built-in one's name takes its place.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	policies := policiesFlag(cmd)
	format := formatFlag(cmd, "how to print the list", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return list(cmd, *policies, *format) }
	return cmd
}

// listed is a policy as --format json prints it.
type listed struct {
	Policy   string   `json:"policy"`
	Version  string   `json:"version"`
	File     string   `json:"file"`
	Builtin  bool     `json:"builtin"`
	Protocol string   `json:"protocol"`
	Extends  []string `json:"extends"`
	Source   string   `json:"source"`
	Hosts    []string `json:"hosts"` // of its match, each once
	Rules    int      `json:"rules"` // how many, with the inherited ones and the default
	Limits   int      `json:"limits"`
}

func list(cmd *cobra.Command, dir, format string) error {
	set, err := overlaid(cmd, dir)
	if err != nil {
		return err
	}
	builtin := map[string]bool{}
	for _, f := range policy.BuiltinFiles() {
		builtin[f.Name] = true
	}
	var own, others []listed
	for _, p := range set.Policies() {
		l := listed{
			Policy: p.Name, Version: p.Version, File: p.File, Builtin: builtin[p.File], Protocol: p.Protocol,
			Extends: append([]string{}, p.Extends...), Source: p.Source, Hosts: hostsOf(p), Rules: len(p.Rules), Limits: len(p.Limits),
		}
		if l.Builtin {
			others = append(others, l)
		} else {
			own = append(own, l)
		}
	}
	all := append(own, others...)
	if format == "json" {
		return failed(writeJSON(cmd.OutOrStdout(), struct {
			Policies []listed `json:"policies"`
		}{all}))
	}
	return failed(writeList(cmd.OutOrStdout(), all))
}

// hostsOf returns the hosts of a policy's match, each once, in order.
func hostsOf(p *policy.Policy) []string {
	hosts, seen := []string{}, map[string]bool{}
	for _, m := range p.Match {
		if !seen[m.Host] {
			seen[m.Host] = true
			hosts = append(hosts, m.Host)
		}
	}
	return hosts
}

func writeList(out io.Writer, all []listed) error {
	w := bufio.NewWriter(out)
	rows := [][]string{{"POLICY", "SPEAKS", "RULES", "LIMITS", "EXTENDS", "HOSTS, OR ITS FILE"}}
	for i := range all {
		l := &all[i]
		where := l.File
		switch {
		case !l.Builtin:
		case len(l.Hosts) == 0:
			where = "(by its name only)"
		case len(l.Hosts) > 2:
			where = fmt.Sprintf("%s, and %d more", strings.Join(l.Hosts[:2], ", "), len(l.Hosts)-2)
		default:
			where = strings.Join(l.Hosts, ", ")
		}
		rows = append(rows, []string{l.Policy, l.Protocol, fmt.Sprint(l.Rules), fmt.Sprint(l.Limits), strings.Join(l.Extends, ", "), where})
	}
	for _, line := range columns.Lines(rows, func(int) bool { return true }) {
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}
