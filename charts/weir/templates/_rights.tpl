{{/* What every controller needs in all namespaces. */}}
{{- define "weir.rights.all" -}}
# Whether another controller of the same kinds works from another namespace.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What each needs beside. Weir's own kinds are read, their finalizers set, their status written. */}}
{{- define "weir.rights.source-controller" -}}
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [get, list, watch, patch]
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories/status]
  verbs: [get, patch]
# Credentials of Git servers.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{- define "weir.rights.kustomize-controller" -}}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [get, list, watch, patch]
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations/status]
  verbs: [get, patch]
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [get, list, watch]
# What a Canary borrows is left out of what is applied.
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [get, list, watch]
# Whether the account that objects were applied as is still there.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
{{- end -}}

{{- define "weir.rights.image-reflector-controller" -}}
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imagerepositories, imagepolicies]
  verbs: [get, list, watch, patch]
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imagerepositories/status, imagepolicies/status]
  verbs: [get, patch]
# Credentials of registries.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Labels that image access goes by.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end -}}

{{- define "weir.rights.image-automation-controller" -}}
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imageupdateautomations]
  verbs: [get, list, watch, patch]
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imageupdateautomations/status]
  verbs: [get, patch]
- apiGroups: [image.toolkit.fluxcd.io]
  resources: [imagepolicies]
  verbs: [get, list, watch]
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [get, list, watch]
# Credentials of Git servers, and keys that commits are signed with.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{/* A Canary is the owner of what it makes and holds its deletion until that is gone, which wants `update` of its finalizers. */}}
{{- define "weir.rights.flagger" -}}
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [get, list, watch, patch]
- apiGroups: [flagger.app]
  resources: [metrictemplates, alertproviders]
  verbs: [get, list, watch]
- apiGroups: [flagger.app]
  resources: [canaries/status]
  verbs: [get, patch]
- apiGroups: [flagger.app]
  resources: [canaries/finalizers]
  verbs: [update]
# Credentials of metric providers; and what targets of Canaries refer to, which is kept with each revision and copied
# for their primaries.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch, create, update, delete]
# What a Canary makes and borrows.
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch]
{{- end -}}
