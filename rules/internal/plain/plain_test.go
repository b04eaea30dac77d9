package plain

import "testing"

func TestWords(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"interface conversion: interface {} is map[string]interface {}, not string (1:16)", "a string is needed, and this is an object"},
		{"interface conversion: interface {} is nil, not string (1:1)", "a string is needed, and this is nothing"},
		{"invalid operation: float(zzz) (1:1)", `"zzz" is not a number`},
		{"invalid operation: int(string) (1:16)", "a field or an element of a string cannot be read"},
		{"invalid operation: string > int (1:22)", `">" does not take a string and a number`},
		{"invalid operation: map[string]interface {} > int (1:22)", `">" does not take an object and a number`},
		{"cannot fetch b from float64 (1:18)", `there is no "b" in a number`},
		{"cannot fetch error from <nil> (1:16)", `there is no "error" in nothing`},
		{"invalid character 'o' in literal null (expecting 'u') (1:1)", "the text is not JSON"},
		{"illegal base64 data at input byte 0", "the text is not base64"},
		{`time: invalid duration "zzz" (1:1)`, `"zzz" is not a duration`},
		{`missing unit in duration "5"`, `"5" is not a duration`},
		{"index out of range: 3 (array length is 1) (1:17)", "there is no element 3 in a list of 1"},
		{"invalid argument for mean (type string) (1:1)", "mean() does not take a string"},
		{"cannot use []interface {} as argument (type int) to call bitand  (1:29)", "bitand() takes a number, not a list"},
		{"type int[int] is undefined", "a number has no elements"},
		{"unrecognized character: U+007E '~'", "'~' means nothing in an expression"},
		{"something else (2:3)", "something else"},
	} {
		if got := Words(c.given); got != c.want {
			t.Errorf("given %q\ngot  %q\nwant %q", c.given, got, c.want)
		}
	}
}
