package main

import (
	"encoding/json"
	"fmt"
	"math/rand"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

func maybe(r *rand.Rand, o object, key string, value func() any) {
	if r.Intn(2) == 0 {
		o[key] = value()
	}
}

func word(r *rand.Rand) any { return fmt.Sprint("w", r.Intn(4)) }

func words(r *rand.Rand, names ...string) object {
	out := object{}
	for _, name := range names {
		if r.Intn(2) == 0 {
			out[name] = word(r)
		}
	}
	if len(out) == 0 {
		out[names[0]] = word(r)
	}
	return out
}

// some picks distinct items in random order, at least one.
func some(r *rand.Rand, n int, item func(int) any) []any {
	out := []any{}
	for _, i := range r.Perm(n) {
		if r.Intn(2) == 0 {
			out = append(out, item(i))
		}
	}
	if len(out) == 0 {
		out = append(out, item(0))
	}
	return out
}

func meta(r *rand.Rand) object {
	out := object{}
	maybe(r, out, "labels", func() any { return words(r, "app", "tier", "team") })
	maybe(r, out, "annotations", func() any { return words(r, "note/a", "note/b") })
	if r.Intn(4) == 0 {
		out["finalizers"] = some(r, 3, func(i int) any { return fmt.Sprint("weir.test/f", i) })
	}
	if r.Intn(5) == 0 {
		out["ownerReferences"] = some(r, 2, func(i int) any {
			return object{"apiVersion": "v1", "kind": "ConfigMap", "name": fmt.Sprint("o", i), "uid": fmt.Sprint("uid-", i)}
		})
	}
	return out
}

func container(r *rand.Rand, i int) any {
	c := object{"name": []string{"app", "sidecar", "proxy"}[i]}
	maybe(r, c, "image", func() any { return fmt.Sprint("registry/app:", r.Intn(3)) })
	maybe(r, c, "args", func() any { return some(r, 3, func(i int) any { return fmt.Sprint("--a", i) }) })
	maybe(r, c, "env", func() any {
		return some(r, 3, func(i int) any {
			return object{"name": string(rune('A' + i)), "value": word(r)}
		})
	})
	maybe(r, c, "ports", func() any {
		return some(r, 3, func(i int) any {
			p := object{"containerPort": 8080 + i}
			maybe(r, p, "name", func() any { return fmt.Sprint("p", i) })
			maybe(r, p, "protocol", func() any { return "TCP" })
			return p
		})
	})
	maybe(r, c, "resources", func() any {
		return object{"requests": words2(r, "cpu", "memory")}
	})
	maybe(r, c, "volumeMounts", func() any {
		return some(r, 2, func(i int) any {
			return object{"name": fmt.Sprint("v", i), "mountPath": fmt.Sprint("/data/", i)}
		})
	})
	if r.Intn(4) == 0 {
		c["readinessProbe"] = object{"httpGet": object{"path": fmt.Sprint("/", word(r)), "port": 8080 + r.Intn(2)}}
	}
	return c
}

func words2(r *rand.Rand, names ...string) object {
	out := object{}
	for _, name := range names {
		if r.Intn(2) == 0 {
			out[name] = fmt.Sprint(1+r.Intn(3), "Mi")
		}
	}
	if len(out) == 0 {
		out[names[0]] = "5Mi"
	}
	return out
}

func deployment(r *rand.Rand) object {
	spec := object{}
	maybe(r, spec, "replicas", func() any { return 1 + r.Intn(3) })
	maybe(r, spec, "minReadySeconds", func() any { return 1 + r.Intn(3) })
	maybe(r, spec, "selector", func() any { return object{"matchLabels": words(r, "app")} })
	if r.Intn(3) == 0 {
		spec["strategy"] = object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": fmt.Sprint(25*(1+r.Intn(2)), "%")}}
	}
	// Always there, since the typed object has a null where there are no containers at all.
	pod := object{}
	pod["containers"] = some(r, 3, func(i int) any { return container(r, i) })
	maybe(r, pod, "volumes", func() any {
		return some(r, 2, func(i int) any {
			if r.Intn(2) == 0 {
				return object{"name": fmt.Sprint("v", i), "emptyDir": object{}}
			}
			return object{"name": fmt.Sprint("v", i), "configMap": object{"name": word(r)}}
		})
	})
	maybe(r, pod, "nodeSelector", func() any { return words(r, "zone", "disk") })
	maybe(r, pod, "serviceAccountName", func() any { return word(r) })
	maybe(r, pod, "imagePullSecrets", func() any { return some(r, 2, func(i int) any { return object{"name": fmt.Sprint("s", i)} }) })
	if r.Intn(4) == 0 {
		pod["topologySpreadConstraints"] = some(r, 2, func(i int) any {
			return object{"topologyKey": fmt.Sprint("t", i), "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}
		})
	}
	if r.Intn(4) == 0 {
		pod["tolerations"] = some(r, 2, func(i int) any { return object{"key": fmt.Sprint("k", i), "operator": "Exists"} })
	}
	spec["template"] = object{"metadata": object{"labels": words(r, "app", "version")}, "spec": pod}
	return object{"metadata": meta(r), "spec": spec}
}

func deploymentStatus(r *rand.Rand) object {
	return object{"replicas": 1 + r.Intn(3), "readyReplicas": 1 + r.Intn(3), "conditions": some(r, 2, func(i int) any {
		return object{"type": []string{"Available", "Progressing"}[i], "status": []string{"True", "False"}[r.Intn(2)], "reason": word(r),
			"lastTransitionTime": "2024-01-01T00:00:00Z", "lastUpdateTime": "2024-01-01T00:00:00Z"}
	})}
}

func service(r *rand.Rand) object {
	spec := object{}
	maybe(r, spec, "selector", func() any { return words(r, "app", "tier") })
	maybe(r, spec, "type", func() any { return []string{"ClusterIP", "NodePort"}[r.Intn(2)] })
	maybe(r, spec, "externalIPs", func() any { return some(r, 2, func(i int) any { return fmt.Sprint("10.0.0.", i) }) })
	if r.Intn(4) > 0 {
		spec["ports"] = some(r, 3, func(i int) any {
			p := object{"port": 80 + i}
			maybe(r, p, "name", func() any { return fmt.Sprint("p", i) })
			maybe(r, p, "protocol", func() any { return "TCP" })
			// Without one the typed object has a zero, which the server's defaults would replace.
			p["targetPort"] = []any{"http", 8080}[r.Intn(2)]
			return p
		})
	}
	return object{"metadata": meta(r), "spec": spec}
}

func configMap(r *rand.Rand) object {
	out := object{"metadata": meta(r)}
	maybe(r, out, "data", func() any { return words(r, "a", "b", "c", "d.yaml") })
	maybe(r, out, "immutable", func() any { return true })
	return out
}

func widget(r *rand.Rand) object {
	spec := object{}
	maybe(r, spec, "size", func() any { return 1 + r.Intn(3) })
	maybe(r, spec, "tags", func() any { return some(r, 4, func(i int) any { return fmt.Sprint("t<", i, ">") }) })
	maybe(r, spec, "numbers", func() any { return some(r, 4, func(i int) any { return i + 1 }) })
	maybe(r, spec, "rules", func() any { return some(r, 3, func(i int) any { return object{"match": word(r)} }) })
	maybe(r, spec, "selector", func() any { return words(r, "app", "tier") })
	maybe(r, spec, "groups", func() any {
		return some(r, 3, func(i int) any {
			g := object{"name": fmt.Sprint("g", i)}
			maybe(r, g, "protocol", func() any { return []string{"TCP", "UDP"}[r.Intn(2)] })
			maybe(r, g, "weight", func() any { return r.Intn(3) })
			maybe(r, g, "members", func() any {
				return some(r, 3, func(i int) any { return object{"id": i, "role": word(r)} })
			})
			return g
		})
	})
	maybe(r, spec, "values", func() any {
		v := object{}
		maybe(r, v, "x", func() any { return object{"y": word(r), "z": some(r, 2, func(i int) any { return i })} })
		maybe(r, v, "w", func() any { return r.Intn(3) })
		return v
	})
	maybe(r, spec, "teams", func() any {
		t := object{}
		for _, name := range []string{"red", "blue"} {
			maybe(r, t, name, func() any { return object{"lead": word(r)} })
		}
		return t
	})
	maybe(r, spec, "port", func() any { return []any{"http", 80}[r.Intn(2)] })
	return object{"metadata": meta(r), "spec": spec}
}

func widgetStatus(r *rand.Rand) object {
	return object{"phase": word(r), "conditions": some(r, 2, func(i int) any {
		return object{"type": []string{"Ready", "Stalled"}[i], "status": "True", "reason": word(r)}
	})}
}

// widgetSchema is kept beside the corpus, so that the reader types widgets the same way.
const widgetSchema = `{"type":"object","properties":{
 "spec":{"type":"object","properties":{
  "size":{"type":"integer"},
  "tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
  "numbers":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"integer"}},
  "rules":{"type":"array","items":{"type":"object","properties":{"match":{"type":"string"}}}},
  "selector":{"type":"object","x-kubernetes-map-type":"atomic","additionalProperties":{"type":"string"}},
  "groups":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name","protocol"],
   "items":{"type":"object","properties":{"name":{"type":"string"},"protocol":{"type":"string","default":"TCP"},"weight":{"type":"integer"},
    "members":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["id"],
     "items":{"type":"object","properties":{"id":{"type":"integer"},"role":{"type":"string"}}}}}}},
  "values":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
  "teams":{"type":"object","additionalProperties":{"type":"object","properties":{"lead":{"type":"string"}}}},
  "port":{"x-kubernetes-int-or-string":true}}},
 "status":{"type":"object","properties":{"phase":{"type":"string"},
  "conditions":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["type"],
   "items":{"type":"object","properties":{"type":{"type":"string"},"status":{"type":"string"},"reason":{"type":"string"}}}}}}}}`

const objectMeta = `{"type":"object","properties":{
 "name":{"type":"string"},"namespace":{"type":"string"},"uid":{"type":"string"},"creationTimestamp":{"type":"string","format":"date-time"},
 "labels":{"type":"object","additionalProperties":{"type":"string"}},
 "annotations":{"type":"object","additionalProperties":{"type":"string"}},
 "finalizers":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
 "ownerReferences":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["uid"],"items":{"type":"object","x-kubernetes-map-type":"atomic",
  "properties":{"apiVersion":{"type":"string"},"kind":{"type":"string"},"name":{"type":"string"},"uid":{"type":"string"}}}},
 "managedFields":{"type":"array","x-kubernetes-list-type":"atomic","items":{"type":"object"}}}}`

func customSpecs() map[string]*spec.Schema {
	widget, meta := &spec.Schema{}, &spec.Schema{}
	check(json.Unmarshal([]byte(widgetSchema), widget))
	check(json.Unmarshal([]byte(objectMeta), meta))
	text := spec.StringProperty()
	widget.Properties["apiVersion"], widget.Properties["kind"] = *text, *text
	widget.Properties["metadata"] = *spec.RefProperty("#/components/schemas/ObjectMeta")
	widget.Extensions = spec.Extensions{"x-kubernetes-group-version-kind": []any{
		map[string]any{"group": "weir.test", "version": "v1", "kind": "Widget"}}}
	return map[string]*spec.Schema{"Widget": widget, "ObjectMeta": meta}
}
