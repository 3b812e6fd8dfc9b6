{{/* The names of the controllers whose parts Weir plays. */}}
{{- define "weir.roles" -}}
[source-controller, kustomize-controller, image-reflector-controller, image-automation-controller, flagger]
{{- end -}}

{{/*
The Deployments, as a list of
  name      of the objects, and what their pods are called by `app.kubernetes.io/name`
  roles     that it plays
  split     whether it is one part of several, which acts by its name
  shard     the key of the objects that it works on; empty for those without one
  account   that its pods run as
  service   that leads to its artifacts; empty where it keeps none
*/}}
{{- define "weir.programs" -}}
{{- $out := list -}}
{{- $roles := include "weir.roles" . | fromYamlArray -}}
{{- $split := eq .Values.mode "split" -}}
{{- range $shard := prepend .Values.sharding.keys "" -}}
{{- $suffix := ternary (printf "-%s" $shard) "" (ne $shard "") -}}
{{- $service := printf "%s%s" $.Values.artifacts.serviceName $suffix -}}
{{- if $split -}}
{{- range $role := $roles -}}
{{- $kept := eq $role "source-controller" | ternary $service "" -}}
{{- $out = append $out (dict "name" (printf "%s%s" $role $suffix) "roles" (list $role) "split" true "shard" $shard "account" $role "service" $kept) -}}
{{- end -}}
{{- else -}}
{{- $name := printf "%s%s" (include "weir.fullname" $) $suffix -}}
{{- $out = append $out (dict "name" $name "roles" $roles "split" false "shard" $shard "account" (include "weir.serviceAccountName" $) "service" $service) -}}
{{- end -}}
{{- end -}}
{{ toYaml $out }}
{{- end -}}

{{/* Labels by which a program's pods are selected. They cannot change once its Deployment is there. */}}
{{- define "weir.programSelector" -}}
{{- if or .program.split .program.shard -}}
app.kubernetes.io/name: {{ .program.name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- else -}}
{{ include "weir.selectorLabels" .root }}
{{- end }}
{{- end -}}

{{/* Labels of a program's objects. Those of a part of several are also the ones that it is known by. */}}
{{- define "weir.programLabels" -}}
{{ include "weir.programSelector" . }}
{{- if .program.split }}
app: {{ .program.name }}
app.kubernetes.io/component: {{ first .program.roles }}
control-plane: controller
{{- end }}
{{ include "weir.sharedLabels" .root }}
{{- end -}}

{{/* Labels that all pods of a release have and no other pod. */}}
{{- define "weir.poolLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: weir
{{- end -}}

{{/* The accounts with the roles that are played under them, as a list of {name, roles}. */}}
{{- define "weir.accounts" -}}
{{- $roles := include "weir.roles" . | fromYamlArray -}}
{{- $out := list -}}
{{- if eq .Values.mode "split" -}}
{{- range $role := $roles -}}
{{- $out = append $out (dict "name" $role "roles" (list $role)) -}}
{{- end -}}
{{- else -}}
{{- $out = append $out (dict "name" (include "weir.serviceAccountName" .) "roles" $roles) -}}
{{- end -}}
{{ toYaml $out }}
{{- end -}}
