// Command yaml answers, for each JSON line on standard input, what Go's YAML libraries do with it.
//
// An input {"read": text} is read three times: "json" is what sigs.k8s.io/yaml makes of it (or "err",
// its message), "any" the same through interface{} where that differs, and "json3" what go-yaml v3
// makes of it (or "err3"). An input {"write": value} is written by sigs.k8s.io/yaml to "yaml"; numbers
// with a point or an exponent are floats, all others stay whole.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

type line struct {
	Read  *string         `json:"read,omitempty"`
	Write json.RawMessage `json:"write,omitempty"`
	JSON  *string         `json:"json,omitempty"`
	Err   *string         `json:"err,omitempty"`
	Any   *string         `json:"any,omitempty"`
	JSON3 *string         `json:"json3,omitempty"`
	Err3  *string         `json:"err3,omitempty"`
	YAML  *string         `json:"yaml,omitempty"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		var given line
		if err := json.Unmarshal(in.Bytes(), &given); err != nil {
			fmt.Fprintln(os.Stderr, "an input line is not JSON:", err)
			os.Exit(1)
		}
		answer := line{Read: given.Read, Write: given.Write}
		if given.Read != nil {
			read(&answer)
		} else {
			write(&answer)
		}
		if err := out.Encode(&answer); err != nil {
			fmt.Fprintln(os.Stderr, "writing the answer:", err)
			os.Exit(1)
		}
	}
}

func read(l *line) {
	text := []byte(*l.Read)
	l.JSON, l.Err = texts(yaml.YAMLToJSON(text))
	if l.JSON != nil {
		var value any
		if err := yaml.Unmarshal(text, &value); err == nil {
			through, _ := texts(json.Marshal(value))
			if through != nil && *through != *l.JSON {
				l.Any = through
			}
		}
	}
	var value any
	err := yaml3.Unmarshal(text, &value)
	if err == nil {
		value, err = stringKeys(value)
	}
	if err != nil {
		_, l.Err3 = texts(nil, err)
		return
	}
	l.JSON3, l.Err3 = texts(json.Marshal(value))
}

// stringKeys gives mappings the text keys that JSON asks for.
func stringKeys(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case map[string]any:
		for k, inner := range v {
			if v[k], err = stringKeys(inner); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		out := map[string]any{}
		for k, inner := range v {
			switch key := k.(type) {
			case string, int, int64, bool:
			case float64:
				if math.IsInf(key, 0) || math.IsNaN(key) {
					return nil, fmt.Errorf("unsupported key %v", k)
				}
			default:
				return nil, fmt.Errorf("unsupported key %v", k)
			}
			if out[fmt.Sprint(k)], err = stringKeys(inner); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		for i, inner := range v {
			if v[i], err = stringKeys(inner); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func write(l *line) {
	decoder := json.NewDecoder(bytes.NewReader(l.Write))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		_, l.Err = texts(nil, err)
		return
	}
	l.YAML, l.Err = texts(yaml.Marshal(floats(value)))
}

func floats(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = floats(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = floats(inner)
		}
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			f, _ := v.Float64()
			return f
		}
	}
	return value
}

func texts(text []byte, err error) (*string, *string) {
	if err != nil {
		message := err.Error()
		return nil, &message
	}
	s := string(text)
	return &s, nil
}
