package report

import "testing"

func TestWords(t *testing.T) {
	for _, test := range []struct{ name, got, want string }{
		{"count", count(999), "999"},
		{"count with commas", count(1_234_567), "1,234,567"},
		{"count of zeros", count(1_000_005), "1,000,005"},
		{"negative count", count(-1200), "-1,200"},
		{"decimal", decimal(0.254), "0.25"},
		{"decimal without zeros", decimal(2.10), "2.1"},
		{"decimal of ten", decimal(10), "10"},
		{"decimal of more", decimal(12.34), "12.3"},
		{"decimal of many", decimal(1234.5), "1,235"},
		{"percent", percent(0.017), "1.7 %"},
		{"no time", duration(0), "0 s"},
		{"milliseconds", duration(0.05), "0.05 s"},
		{"seconds", duration(59.5), "59.5 s"},
		{"minutes", duration(300), "5 min"},
		{"minutes and seconds", duration(100), "1 min 40 s"},
		{"hours", duration(7500), "2 h 5 min"},
		{"almost an hour", duration(3599.7), "1 h"},
		{"almost a minute", duration(59.97), "1 min"},
		{"clock", clock(305), "5:05"},
		{"clock of hours", clock(3905), "1:05:05"},
		{"list of none", list(nil), ""},
		{"list of one", list([]string{"a"}), "a"},
		{"list of three", list([]string{"a", "b", "c"}), "a, b and c"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, test.got, test.want)
		}
	}
}
