// What the effect room asks PostgreSQL's catalogs, one query a catalog, all read in one snapshot.
// Invariant: every name is qualified and search_path is empty, so nothing in the database can stand
// in for a catalog, and the texts that the server deparses (views, rules, defaults, bodies) come
// back with every user name qualified.
import type { Within } from './ranges.ts';
import { FIRST_USER_OID as USER } from './snapshot.ts';

const SYSTEM_SCHEMAS = `('pg_catalog', 'information_schema', 'pg_toast')`;

/** Transactions up to here are initdb's own: what has a later one was changed since. */
const INITDB = 715;

/** A relation that initdb made, and nobody has put another in its place. */
const ORIGINAL = `(n.nspname in ${SYSTEM_SCHEMAS} and c.oid < ${USER} and not exists (select
      from pg_rewrite w where w.ev_class = c.oid and w.xmin::text::int8 > ${INITDB}))`;

/** What stands in pg_depend are rows of catalogs: its index has them in front. */
const IN_CATALOGS = `d.classid = any(array(select k.oid from pg_class k
      where k.oid < ${USER} and k.relkind = 'r'))`;

/**
 * Of single objects. Each row belongs to one OID, which `ownerOf` names, and comes in the order of
 * these.
 */
export const OBJECT_FACTS = {
  relations: (within) => `select c.oid::int8::text as oid, n.nspname as schema, c.relname as name,
      concat_ws('.', c.oid, (select string_agg(r.xmin::text, '.' order by r.oid)
        from pg_rewrite r where r.ev_class = c.oid)) as identity,
      c.relkind as kind,
      c.relpersistence as persistence,
      pg_get_userbyid(c.relowner) as owner, c.relrowsecurity as row_security,
      c.relforcerowsecurity as forced,
      c.relispartition as is_partition, s.srvname as server, w.fdwname as wrapper,
      s.srvoptions as server_options, f.ftoptions as table_options,
      case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition,
      case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as partition_key,
      (select k.partclass::oid[]::int8[]::text[] from pg_partitioned_table k
        where k.partrelid = c.oid) as partition_classes
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_foreign_table f on f.ftrelid = c.oid
    left join pg_foreign_server s on s.oid = f.ftserver
    left join pg_foreign_data_wrapper w on w.oid = s.srvfdw
    where ${within('c.oid')} and not ${ORIGINAL} and n.nspname !~ '^pg_toast'
      and c.relkind in ('r', 'v', 'm', 'f', 'p', 'S', 'c')
    order by c.oid`,

  columns: (
    within,
  ) => `select a.attrelid::int8::text as relation, a.attnum::int as number, a.attname as name,
      a.atttypid::int8::text as type, a.atttypmod::int as typmod, a.attnotnull and not exists (
        select from pg_constraint v where ${within('v.conrelid')}
          and v.conrelid = a.attrelid and v.contype = 'n'
          and v.conkey[1] = a.attnum and not v.convalidated) as not_null,
      a.attgenerated as generated, a.attidentity as identity, pg_get_expr(d.adbin,
      d.adrelid) as expression
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n
        on n.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where ${within('a.attrelid')} and ${within('c.oid')}
      and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'v', 'm', 'f', 'p', 'c')
      and not ${ORIGINAL} and n.nspname !~ '^pg_toast'
    order by a.attrelid, a.attnum`,

  types: (within) => `select t.oid::int8::text as oid, n.nspname as schema, t.typname as name,
      t.typtype as kind,
      t.typcategory as category, t.typbasetype::int8::text as base,
      t.typrelid::int8::text as relation,
      coalesce(nullif(t.typelem, 0), r.rngsubtype, m.rngtypid, 0)::int8::text as element,
      coalesce(r.rngsubopc, 0)::int8::text as class,
      array_remove(array[r.rngcanonical::oid, r.rngsubdiff::oid],
        0)::int8[]::text[] as functions,
      case when t.typdefaultbin is not null then pg_get_expr(t.typdefaultbin, 0) end as preset,
      case when t.typtype = 'e' then array(select e.enumlabel::text from pg_enum e
        where e.enumtypid = t.oid order by e.enumsortorder) end as labels
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    left join pg_range r on r.rngtypid = t.oid left join pg_range m on m.rngmultitypid = t.oid
    where ${within('t.oid')} and n.nspname !~ '^pg_toast'
    order by t.oid`,

  constraints: (
    within,
  ) => `select conname as name, contype as kind, conrelid::int8::text as relation,
      contypid::int8::text as type, confrelid::int8::text as referenced, confdeltype as on_delete,
      confupdtype as on_update, conkey::int[] as columns, confkey::int[] as referenced_columns,
      case when contype = 'c' then pg_get_constraintdef(oid) end as definition
    from pg_constraint
    where (${within('conrelid')} or ${within('contypid')})
      and contype in ('c', 'f') and (oid >= ${USER} or conrelid >= ${USER})
    order by conrelid, contypid, oid`,

  triggers: (
    within,
  ) => `select t.tgrelid::int8::text as relation, t.tgname as name, t.tgenabled as enabled,
      t.tgtype::int as type, t.tgdeferrable as deferrable, t.tgfoid::int8::text as function,
      t.tgattr::int2[]::int[] as columns,
      case when t.tgqual is not null or t.tgnargs > 0
      then pg_get_triggerdef(t.oid) end as definition,
      array_remove(array[t.tgoldtable, t.tgnewtable]::text[], null) as tables
    from pg_trigger t where ${within('t.tgrelid')}
      and (not t.tgisinternal or t.tgfoid >= ${USER})
    order by t.tgrelid, t.oid`,

  rules: (
    within,
  ) => `select r.ev_class::int8::text as relation, r.rulename as name, r.ev_type as event,
      r.ev_enabled as enabled,
      r.is_instead as instead, pg_get_ruledef(r.oid) as definition
    from pg_rewrite r where ${within('r.ev_class')} and r.rulename <> '_RETURN' and r.oid >= ${USER}
    order by r.ev_class, r.oid`,

  indexes: (within) => `select i.indrelid::int8::text as relation, i.indisunique as is_unique,
      i.indimmediate as immediate,
      i.indisvalid as valid, i.indnkeyatts::int as keys, i.indkey::int2[]::int[] as columns,
      i.indpred is not null or i.indexprs is not null as computed,
      i.indclass::oid[]::int8[]::text[] as classes,
      case when i.indpred is not null or i.indexprs is not null
      then pg_get_indexdef(i.indexrelid) end as definition
    from pg_index i where ${within('i.indrelid')} and i.indrelid >= ${USER}
    order by i.indrelid, i.indexrelid`,

  statistics: (within) => `select stxrelid::int8::text as relation,
      (select array_agg(e) from unnest(pg_get_statisticsobjdef_expressions(oid)) e) as expressions
    from pg_statistic_ext where ${within('stxrelid')} and stxexprs is not null
    order by stxrelid, oid`,

  inherits: (within) => `select inhrelid::int8::text as child, inhparent::int8::text as parent
      from pg_inherits
    where ${within('inhrelid')} and inhparent >= ${USER}
    order by inhrelid, inhseqno`,

  policies: (
    within,
  ) => `select polrelid::int8::text as relation, polname as name, polcmd as command,
      pg_get_expr(polqual, polrelid) as reads, pg_get_expr(polwithcheck,
      polrelid) as writes from pg_policy
    where ${within('polrelid')}
    order by polrelid, oid`,

  routines: (within) => `select p.oid::int8::text as oid, n.nspname as schema, p.proname as name,
      concat_ws('.', p.oid, p.xmin) as identity,
      p.prokind as kind,
      l.lanname as language, p.prosrc as source, p.probin as library,
      pg_get_function_sqlbody(p.oid) as body,
      case when l.lanname = 'plpgsql' and p.prokind <> 'a'
      then pg_get_functiondef(p.oid) end as definition,
      p.provolatile as volatility, p.prosecdef as definer, p.proconfig as settings,
      p.proowner::regrole::text as owner,
      p.proargtypes::oid[]::int8[]::text[] as arguments,
      p.proallargtypes::int8[]::text[] as all_arguments,
      p.proargmodes::text[] as modes, p.proargnames as names, p.pronargdefaults::int as defaults,
      p.provariadic::int8::text as variadic, p.prorettype::int8::text as result,
      p.prosupport::oid::int8::text as support,
      pg_get_expr(p.proargdefaults, 0) as default_expressions,
      pg_get_function_result(p.oid) as result_text,
      array[a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid,
      a.aggdeserialfn::oid,
        a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid]::int8[]::text[] as parts
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l
        on l.oid = p.prolang
    left join pg_aggregate a on a.aggfnoid = p.oid
    where ${within('p.oid')} and (p.oid >= ${USER}
        or (n.nspname = 'pg_catalog' and l.lanname not in ('internal', 'sql', 'c'))
        or (l.lanname in ('internal', 'sql') and n.nspname = 'pg_catalog')
        and p.xmin::text::int8 > ${INITDB}
        or n.nspname = 'information_schema' and p.xmin::text::int8 > ${INITDB})
    order by p.oid`,

  extension_members: (
    within,
  ) => `select d.objid::int8::text as oid, e.extname as extension from pg_depend d
    join pg_extension e on e.oid = d.refobjid
    where ${within('d.objid')} and d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
        and d.classid = 'pg_proc'::regclass
    order by d.objid`,

  rule_owners: (
    within,
  ) => `select oid::int8::text as oid, ev_class::int8::text as owner from pg_rewrite
    where ${within('ev_class')} and oid >= ${USER} and rulename = '_RETURN'
    order by ev_class, oid`,

  dependencies: (within) => `select d.classid::regclass::text as class, d.objid::int8::text as oid,
      d.objsubid::int as sub,
      d.refclassid::regclass::text as on_class, d.refobjid::int8::text as on_oid,
      d.refobjsubid::int as on_sub,
      d.deptype as kind
    from pg_depend d where ${within('d.objid', IN_CATALOGS)}
      and d.objid >= ${USER} and (d.refobjid >= ${USER}
        or d.refclassid = 'pg_namespace'::regclass)
    order by d.objid, d.classid, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid, d.deptype`,
} as const satisfies { readonly [name: string]: (within: Within) => string };

/** Small, and asked for whenever anything has changed. */
export const FRESH_FACTS = {
  schemas: `select oid::int8::text as oid, nspname as name,
      has_schema_privilege(oid, 'USAGE') as usable from pg_namespace`,

  namesakes: `select p.oid::int8::text as oid, p.proname as name,
      p.proargtypes::oid[]::int8[]::text[] as arguments,
      p.pronargdefaults::int as defaults, p.provariadic::int8::text as variadic,
      p.prorettype::int8::text as result
    from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.oid < ${USER}
      and exists (select from pg_proc u where u.proname = p.proname and u.oid >= ${USER})`,

  event_triggers: `select evtname as name, evtevent as event, evtfoid::int8::text as function,
      evttags as tags
    from pg_event_trigger where evtenabled in ('O', 'A')`,

  role_settings: `select coalesce(r.rolname, '') as role, coalesce(d.datname, '') as database,
      s.setconfig as settings
    from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole left
        join pg_database d on d.oid = s.setdatabase
    union all select '', '', array['plpgsql.variable_conflict=' || value]
    from current_setting('plpgsql.variable_conflict', true) value where value <> ''`,

  roles: `select oid::int8::text as oid, rolname as name from pg_roles`,
} as const;

/** Small or hardly ever another: asked for with everything. */
export const RARE_FACTS = {
  server: `select current_setting('server_version_num')::int as version,
      current_database() as database,
    current_setting('port') as port,
    exists (select from pg_collation where not collisdeterministic) as folds`,

  system_relations: `select n.nspname as schema, c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where ${ORIGINAL} and c.relkind in ('r', 'v')`,

  builtins: `select p.oid::int8::text as oid, p.proname as name from pg_proc p
    where p.oid < ${USER} and p.pronamespace = 'pg_catalog'::regnamespace
        and p.provolatile <> 'i'`,

  operators: `select o.oid::int8::text as oid, n.nspname as schema, o.oprname as name,
      o.oprleft::int8::text as "left",
      o.oprright::int8::text as "right", o.oprcode::oid::int8::text as code,
      array[o.oprrest::oid, o.oprjoin::oid, c.oprcode::oid,
      g.oprcode::oid]::int8[]::text[] as "with",
      (select array_agg(distinct s.amproc::oid::int8::text) from pg_amop m join pg_amproc s
      on s.amprocfamily = m.amopfamily
        where m.amopopr = o.oid) as support
    from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
    left join pg_operator c on c.oid = o.oprcom left join pg_operator g on g.oid = o.oprnegate
    where o.oid >= ${USER}`,

  classes: `select c.oid::int8::text as oid, c.opcintype::int8::text as type,
      c.opcdefault as is_default,
      array(select amproc::oid::int8::text from pg_amproc where amprocfamily = c.opcfamily
        union select o.oprcode::oid::int8::text from pg_amop m join pg_operator o
        on o.oid = m.amopopr
          where m.amopfamily = c.opcfamily order by 1) as functions
    from pg_opclass c where c.oid >= ${USER}
      or exists (select from pg_amproc where amprocfamily = c.opcfamily
      and amproc::oid >= ${USER})`,

  casts: `select castsource::int8::text as source, casttarget::int8::text as target,
      castfunc::int8::text as function,
      castcontext as context from pg_cast`,

  servers: `select s.srvname as name, w.fdwname as wrapper from pg_foreign_server s
    join pg_foreign_data_wrapper w on w.oid = s.srvfdw`,

  extensions: `select oid::int8::text as oid, extname as name from pg_extension`,
} as const;

export type ObjectFact = keyof typeof OBJECT_FACTS;
export type SmallFact = keyof typeof FRESH_FACTS | keyof typeof RARE_FACTS;
