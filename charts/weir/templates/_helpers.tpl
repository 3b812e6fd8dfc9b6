{{/* Name of the objects: the release's, with the chart's unless it is in it already. */}}
{{- define "weir.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which pods are selected. They cannot change once a Deployment is there. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of all objects. */}}
{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
{{ include "weir.sharedLabels" . }}
{{- end -}}

{{- define "weir.sharedLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "weir.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "weir.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{/* The address that is written into artifacts' URLs. */}}
{{- define "weir.artifactAddress" -}}
{{- if .root.Values.artifacts.advertisedAddress -}}
{{- .root.Values.artifacts.advertisedAddress -}}
{{- else -}}
{{- printf "%s.%s.svc.%s." .program.service .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}
{{- end -}}

{{- define "weir.claimName" -}}
{{- default (printf "%s-artifacts" .program.name) .root.Values.artifacts.storage.claim.existing -}}
{{- end -}}

{{- define "weir.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "weir.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Values that are each allowed, and wrong together. */}}
{{- define "weir.validate" -}}
{{- $several := gt (int .Values.replicas) 1 -}}
{{- if and $several (not .Values.leaderElection.enabled) -}}
{{- fail "replicas is more than 1 and leaderElection.enabled is false: all pods would act at once. Set leaderElection.enabled=true or replicas=1." -}}
{{- end -}}
{{- $claim := .Values.artifacts.storage.claim -}}
{{- if and $several $claim.enabled (not $claim.existing) (not (has "ReadWriteMany" $claim.accessModes)) -}}
{{- fail "replicas is more than 1 and artifacts.storage.claim.accessModes has no ReadWriteMany: the second pod could not start. Add it, or set artifacts.storage.claim.enabled=false." -}}
{{- end -}}
{{- if and .Values.sharding.keys (or $claim.existing .Values.artifacts.advertisedAddress) -}}
{{- fail "sharding.keys is given with artifacts.storage.claim.existing or artifacts.advertisedAddress: each shard keeps artifacts of its own, at an address of its own. Leave them empty." -}}
{{- end -}}
{{- if and (eq .Values.mode "split") (or .Values.serviceAccount.name (not .Values.serviceAccount.create)) -}}
{{- fail "mode is split and serviceAccount.name is given, or serviceAccount.create is false: each part has an account of its own name, which the chart makes. Leave serviceAccount as it is." -}}
{{- end -}}
{{- if and .Values.rbac.rules .Values.rbac.clusterAdmin -}}
{{- fail "rbac.rules is given and rbac.clusterAdmin is true, which grants everything. Set rbac.clusterAdmin=false, or leave rbac.rules empty." -}}
{{- end -}}
{{- end -}}

{{/* Rules about all of Weir's kinds, with the verbs that are given. */}}
{{- define "weir.ownKinds" -}}
{{- $verbs := . | join ", " -}}
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [{{ $verbs }}]
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [{{ $verbs }}]
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imagerepositories, imagepolicies, imageupdateautomations]
  verbs: [{{ $verbs }}]
- apiGroups: [flagger.app]
  resources: [canaries, metrictemplates, alertproviders]
  verbs: [{{ $verbs }}]
{{- end -}}
