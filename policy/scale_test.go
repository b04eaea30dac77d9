package policy

import (
	"fmt"
	"strings"
	"testing"
)

// Policies of n things each, which loading must take in time near to n.

const scaleHead = "version: 1\nprovider: p\ndefault: fail\n"

// scaled are files that hold n of one thing.
var scaled = []struct {
	name string
	file func(n int) []File
}{
	{"rules by regexp", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`message matches "e%d[0-9]+"`, i) })
	}},
	{"rules by regexp without literals", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`message matches "[a-z]{%d}[0-9]+x%d"`, i%9+1, i%7) })
	}},
	{"rules by body and status", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`status >= %d and body contains "x%d"`, 400+i%100, i) })
	}},
	{"rules by header", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`header("X-%d") == "a"`, i) })
	}},
	{"rules by fact exclusion", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`operation != "o%d" and attempt == %d`, i, i) })
	}},
	{"rules by number", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`retry_after == duration("%ds")`, i) })
	}},
	{"rules by VM", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`upper(code) == "X%d"`, i) })
	}},
	{"rules by status and regexp", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`status == 403 and message matches "e%d[0-9]+"`, i) })
	}},
	{"equal rules", func(n int) []File {
		return scaledRules(n, func(i int) string { return `status == 429` })
	}},
	{"rules by code", func(n int) []File {
		return scaledRules(n, func(i int) string { return fmt.Sprintf(`"c%d" in codes`, i) })
	}},
	{"rules that retry a send", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "backoff: {default: {attempts: 3}}\nrules:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: r%d, when: 'status == 500 and operation == \"messages%d.send\"', action: retry}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"rules that reauth", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "rules:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: r%d, when: 'status == 401 and operation == \"o%d\"', action: reauth}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"parents in a chain", func(n int) []File {
		n /= 10
		files := []File{{"p0.yaml", []byte("version: 1\nprovider: p0\ndefault: fail\nrules: [{name: r0, when: 'status == 400', action: fail}]\n")}}
		for i := 1; i < n; i++ {
			files = append(files, File{fmt.Sprintf("p%d.yaml", i), fmt.Appendf(nil, "version: 1\nprovider: p%d\nextends: [p%d]\nrules: [{name: r%d, when: 'status == %d', action: fail}]\n", i, i-1, i, 400+i)})
		}
		return files
	}},
	{"parents in a list", func(n int) []File {
		n /= 10
		var files []File
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("p%d", i))
			files = append(files, File{names[i] + ".yaml", fmt.Appendf(nil, "version: 1\nprovider: %s\ndefault: fail\nrules: [{name: r%d, when: 'status == %d', action: fail}]\n", names[i], i, 400+i)})
		}
		return append(files, File{"p.yaml", []byte("version: 1\nprovider: p\nextends:\n  - " + strings.Join(names, "\n  - ") + "\n")})
	}},
	{"policies of one parent", func(n int) []File {
		n /= 10
		files := []File{{"base.yaml", []byte("version: 1\nprovider: base\ndefault: fail\n")}}
		for i := range n {
			files = append(files, File{fmt.Sprintf("p%d.yaml", i), fmt.Appendf(nil, "version: 1\nprovider: p%d\nextends: [base]\n", i)})
		}
		return files
	}},
	{"paths on one host", func(n int) []File {
		var a, b strings.Builder
		a.WriteString("version: 1\nprovider: a\ndefault: fail\nmatch:\n")
		b.WriteString("version: 1\nprovider: b\ndefault: fail\nmatch:\n")
		for i := range n {
			fmt.Fprintf(&a, "  - {host: example.com, path: /a%05d/**}\n", i)
			fmt.Fprintf(&b, "  - {host: example.com, path: /b%05d/**}\n", i)
		}
		return []File{{"a.yaml", []byte(a.String())}, {"b.yaml", []byte(b.String())}}
	}},
	{"globs on one host", func(n int) []File {
		var a, b strings.Builder
		a.WriteString("version: 1\nprovider: a\ndefault: fail\nmatch:\n")
		b.WriteString("version: 1\nprovider: b\ndefault: fail\nmatch:\n")
		for i := range n {
			fmt.Fprintf(&a, "  - {host: example.com, path: '/*/a%05d'}\n", i)
			fmt.Fprintf(&b, "  - {host: example.com, path: '/*/b%05d'}\n", i)
		}
		return []File{{"a.yaml", []byte(a.String())}, {"b.yaml", []byte(b.String())}}
	}},
	{"operations", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "operations:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {path: /a%d, operation: op%d}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"operations by glob", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "operations:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {path: /x*%d, operation: op%d}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"idempotent", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "idempotent:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - op%d\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"inherited idempotent", func(n int) []File {
		idempotent := func(head, operation string) []byte {
			b := []byte(head + "idempotent:\n")
			for i := range n {
				b = fmt.Appendf(b, "  - %s%d\n", operation, i)
			}
			return b
		}
		return []File{{"p.yaml", idempotent(scaleHead, "op")}, {"c.yaml", idempotent("version: 1\nprovider: c\nextends: [p]\n", "oq")}}
	}},
	{"limits", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "limits:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: l%d, key: account, rate: 1/s}\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"limits and holds", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "limits:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: l%d, key: account}\n", i)
		}
		b.WriteString("rules:\n  - name: r\n    when: status == 429\n    action: fail\n    hold:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - l%d\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"costs", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "limits: [{name: l, key: account, rate: 9/s, cost: u}]\ncosts:\n  u:\n    default: 1\n")
		for i := range n {
			fmt.Fprintf(&b, "    op%d: 2\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"costs of a limit's operations", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "costs:\n  u:\n    default: 1\n")
		for i := range n {
			fmt.Fprintf(&b, "    op%d: 2\n", i)
		}
		b.WriteString("limits:\n  - name: l\n    key: account\n    rate: 9/s\n    cost: u\n    operations:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - op%d\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"costs of a limit's globs", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "costs:\n  u:\n    default: 1\n")
		for i := range n {
			fmt.Fprintf(&b, "    op%d: 2\n", i)
		}
		b.WriteString("limits:\n  - name: l\n    key: account\n    rate: 9/s\n    cost: u\n    operations:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - 'oq%d*'\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"cost tables", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "costs:\n")
		for i := range n {
			fmt.Fprintf(&b, "  u%d: {default: 1}\n", i)
		}
		b.WriteString("limits:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: l%d, key: account, rate: 9/s, cost: u%d}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"backoffs", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "backoff:\n")
		for i := range n {
			fmt.Fprintf(&b, "  b%d: {attempts: 3}\n", i)
		}
		b.WriteString("rules:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: r%d, when: 'status == %d', action: retry, backoff: b%d}\n", i, i%1000, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"facts", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "extract:\n  facts:\n")
		for i := range n {
			fmt.Fprintf(&b, "    f%d: [{header: X}]\n", i)
		}
		b.WriteString("rules:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: r%d, when: 'facts.f%d == \"a\"', action: fail}\n", i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"extractors", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "extract:\n  codes:\n")
		for i := range n {
			fmt.Fprintf(&b, "    - {json: a%d.b}\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"codes in a list", func(n int) []File {
		n = min(n, 1900)
		var codes []string
		for i := range n {
			codes = append(codes, fmt.Sprintf("'c%d'", i))
		}
		return scaledRules(8, func(i int) string {
			return fmt.Sprintf("code in [\n      %s] and status == %d", strings.Join(codes, ",\n      "), i)
		})
	}},
	{"codes in an any", func(n int) []File {
		var codes []string
		for i := range min(n/8, 400) {
			codes = append(codes, fmt.Sprintf(`# startsWith 'c%d'`, i))
		}
		return scaledRules(8, func(i int) string {
			return fmt.Sprintf("any(codes, %s) and status == %d", strings.Join(codes, "\n      or "), i)
		})
	}},
	{"removals", func(n int) []File {
		files := scaledRules(n, func(i int) string { return fmt.Sprintf(`status == %d`, i) })
		var b strings.Builder
		b.WriteString("version: 1\nprovider: c\nextends: [p]\nremove:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - r%d\n", i)
		}
		return append(files, File{"c.yaml", []byte(b.String())})
	}},
	{"hidden rules", func(n int) []File {
		files := scaledRules(n, func(i int) string { return fmt.Sprintf(`status == 429 and "c%d" in codes`, i) })
		return append(files, File{"c.yaml", []byte("version: 1\nprovider: c\nextends: [p]\nrules: [{name: x, when: 'status == 429', action: fail}]\n")})
	}},
	{"inspects", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "inspect:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {status: 200, operations: [op%d]}\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"unknown fields", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead)
		for i := range n {
			fmt.Fprintf(&b, "field%d: 1\n", i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"unknown names", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "rules:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {name: r%d, when: 'status == %d', action: retry, backoff: b%d, hold: [l%d]}\n", i, i, i, i)
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"problems on one line", func(n int) []File {
		return []File{{"p.yaml", []byte(scaleHead + "rules: [" + strings.Repeat("{a}, ", min(n, 3000)) + "]\n")}}
	}},
	{"broken lines", func(n int) []File {
		return []File{{"p.yaml", []byte(scaleHead + "rules:\n" + strings.Repeat("  - {name: 'a'b, when: @}\n", n))}}
	}},
	{"deep flow", func(n int) []File {
		return []File{{"p.yaml", []byte(scaleHead + "rules: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "\n")}}
	}},
	{"deep blocks", func(n int) []File {
		var b strings.Builder
		b.WriteString(scaleHead + "rules:\n")
		for i := range min(n, 1000) {
			b.WriteString(strings.Repeat(" ", i+1) + "a:\n")
		}
		return []File{{"p.yaml", []byte(b.String())}}
	}},
	{"long line", func(n int) []File {
		return []File{{"p.yaml", []byte(scaleHead + "rules: [{name: r, when: '" + strings.Repeat("x == 1 or ", n*2) + "true', action: fail}]\n")}}
	}},
	{"files", func(n int) []File {
		var files []File
		for i := range n {
			files = append(files, File{fmt.Sprintf("p%d.yaml", i), fmt.Appendf(nil, "version: 1\nprovider: p%d\ndefault: fail\nmatch: [{host: h%d.example.com}]\n", i, i)})
		}
		return files
	}},
	{"files of one host", func(n int) []File {
		var files []File
		for i := range n {
			files = append(files, File{fmt.Sprintf("p%d.yaml", i), fmt.Appendf(nil, "version: 1\nprovider: p%d\ndefault: fail\nmatch: [{host: example.com, path: /a%05d}]\n", i, i)})
		}
		return files
	}},
}

func scaledRules(n int, when func(i int) string) []File {
	var b strings.Builder
	b.WriteString(scaleHead + "extract: {facts: {a: [{header: A}]}}\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: r%d\n    action: fail\n    when: '%s'\n", i, strings.ReplaceAll(when(i), "'", "''"))
	}
	return []File{{"p.yaml", []byte(b.String())}}
}

// BenchmarkLoadScaled shows how the time to load a policy grows with it.
func BenchmarkLoadScaled(b *testing.B) {
	for _, s := range scaled {
		for _, n := range []int{1000, 2000, 4000, 8000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				files := s.file(n)
				for b.Loop() {
					Load(files, LoadOptions{})
				}
			})
		}
	}
}
