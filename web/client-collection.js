export class Collection {}
