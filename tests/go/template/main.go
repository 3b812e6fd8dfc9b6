// Command template answers questions about Go's own behaviour, one JSON object a line on stdin, one on stdout.
// What it prints is kept beside the Rust tests as corpora; see ../README.md.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/semver/v3"
)

// question is one line of input. The fields used depend on Kind.
type question struct {
	Kind string `json:"kind"`
	// template
	Text    string          `json:"text,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Missing string          `json:"missing,omitempty"`
	// semver
	Range   string `json:"range,omitempty"`
	Version string `json:"version,omitempty"`
	Other   string `json:"other,omitempty"`
	// number, duration, quote
	Value  string `json:"value,omitempty"`
	Format string `json:"format,omitempty"`
	Prec   int    `json:"prec,omitempty"`
	// regex
	Pattern string `json:"pattern,omitempty"`
	Input   string `json:"input,omitempty"`
	Expand  string `json:"expand,omitempty"`
}

// resource stands for a struct in template data.
type resource struct{ Kind, Name string }

// commonData is what the data "D" of a template case stands for; the Rust test has the same.
const commonData = `{"s":"str","n":3,"f":1.5,"b":true,"nil":null,"l":["a","b","c"],"m":{"k":"v","j":1,"d":{"e":"deep"}},
"e":[],"em":{},"es":"","z":0,"o":[{"name":"x","v":1},{"name":"y","v":2},null],"big":1000000,
"h":"<a href=\"x\">'&'</a>"}`

// funcs are known to the Rust test under the same names.
var funcs = template.FuncMap{
	"upper":  strings.ToUpper,
	"name":   func() string { return "podinfo" },
	"vars":   func() map[string]string { return map[string]string{"a": "1", "b": "two"} },
	"add":    func(a, b int) int { return a + b },
	"join":   func(sep string, parts ...string) string { return strings.Join(parts, sep) },
	"any":    func(v any) any { return v },
	"fail":   func(msg string) (string, error) { return "", fmt.Errorf("%s", msg) },
	"half":   func(f float64) float64 { return f / 2 },
	"yes":    func(b bool) bool { return b },
	"adder":  func() any { return func(a, b int) int { return a + b } },
	"bignum": func() int64 { return 1 << 40 },
	"unum":   func() uint64 { return 7 },
	"strs":   func() []string { return []string{"x", "y"} },
	"res":    func() resource { return resource{"Deployment", "app"} },
	"changes": func() map[resource][]string {
		return map[resource][]string{{"Service", "b"}: {"2"}, {"Deployment", "a"}: {"1", "3"}}
	},
}

// answers are the fields this program writes.
var answers = []string{
	"output", "error", "ok", "uok", "strict", "normalized", "compare", "check", "json", "result", "uresult",
	"nanos", "quoted", "ascii", "match", "groups", "expanded", "replaced",
}

func answerTemplate(q question, out map[string]any) {
	var data any
	if string(q.Data) == `"D"` {
		q.Data = json.RawMessage(commonData)
	}
	if len(q.Data) > 0 {
		if err := json.Unmarshal(q.Data, &data); err != nil {
			panic(err)
		}
	}
	t := template.New("t").Funcs(funcs)
	if q.Missing != "" {
		t = t.Option("missingkey=" + q.Missing)
	}
	t, err := t.Parse(q.Text)
	if err != nil {
		out["error"] = err.Error()
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		out["error"] = err.Error()
		return
	}
	out["output"] = b.String()
}

func answerSemver(q question, out map[string]any) {
	if q.Kind == "version" {
		_, err := semver.StrictNewVersion(q.Version)
		out["strict"] = err == nil
		v, err := semver.NewVersion(q.Version)
		out["ok"] = err == nil
		if err == nil {
			out["normalized"] = v.String()
			if o, err := semver.NewVersion(q.Other); err == nil {
				out["compare"] = v.Compare(o)
			}
		}
		return
	}
	c, err := semver.NewConstraint(q.Range)
	out["ok"] = err == nil
	v, verr := semver.NewVersion(q.Version)
	if err == nil && verr == nil {
		out["check"] = c.Check(v)
	}
}

func answerNumber(q question, out map[string]any) {
	switch q.Kind {
	case "float":
		f, err := strconv.ParseFloat(q.Value, 64)
		out["ok"] = err == nil
		if err == nil {
			out["result"] = strconv.FormatFloat(f, q.Format[0], q.Prec, 64)
			if b, err := json.Marshal(f); err == nil {
				out["json"] = string(b)
			}
		}
	case "int":
		i, err := strconv.ParseInt(q.Value, 0, 64)
		out["ok"] = err == nil
		if err == nil {
			out["result"] = strconv.FormatInt(i, 10)
		}
		u, err := strconv.ParseUint(q.Value, 0, 64)
		out["uok"] = err == nil
		if err == nil {
			out["uresult"] = strconv.FormatUint(u, 10)
		}
	case "duration":
		d, err := time.ParseDuration(q.Value)
		out["ok"] = err == nil
		if err == nil {
			out["nanos"] = strconv.FormatInt(int64(d), 10)
			out["result"] = d.String()
		}
	case "quote":
		out["quoted"] = strconv.Quote(q.Value)
		out["ascii"] = strconv.QuoteToASCII(q.Value)
		s, err := strconv.Unquote(q.Value)
		out["ok"] = err == nil
		if err == nil {
			out["result"] = s
		}
	}
}

func answerRegex(q question, out map[string]any) {
	re, err := regexp.Compile(q.Pattern)
	out["ok"] = err == nil
	if err != nil {
		return
	}
	m := re.FindStringSubmatchIndex(q.Input)
	out["match"] = m != nil
	if m != nil {
		groups := make([]*string, 0, len(m)/2)
		for i := 0; i < len(m); i += 2 {
			if m[i] < 0 {
				groups = append(groups, nil)
				continue
			}
			s := q.Input[m[i]:m[i+1]]
			groups = append(groups, &s)
		}
		out["groups"] = groups
		out["expanded"] = string(re.ExpandString(nil, q.Expand, q.Input, m))
	}
	out["replaced"] = re.ReplaceAllString(q.Input, q.Expand)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for in.Scan() {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			panic(fmt.Errorf("%s: %w", line, err))
		}
		out := map[string]any{}
		if err := json.Unmarshal(line, &out); err != nil {
			panic(err)
		}
		// A line of an old corpus is a question with stale answers.
		for _, key := range answers {
			delete(out, key)
		}
		switch q.Kind {
		case "template":
			answerTemplate(q, out)
		case "range", "version":
			answerSemver(q, out)
		case "float", "int", "duration", "quote":
			answerNumber(q, out)
		case "regex":
			answerRegex(q, out)
		default:
			panic("unknown kind " + q.Kind)
		}
		if err := enc.Encode(out); err != nil {
			panic(err)
		}
	}
}
