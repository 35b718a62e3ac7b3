/** Names of the pretended organizations: invented, as any resemblance to real ones would be. */
const NAMES = [
	"North Clinic",
	"Harbor Hospital",
	"Lakeside Medical Center",
	"Eastgate University Hospital",
	"Saint Brigid Infirmary",
	"Pine Valley Health",
	"Riverbend Clinic",
	"Old Town Hospital",
	"Highland Regional",
	"Southport Medical",
	"Westfield Children's Hospital",
	"Granite Falls Clinic",
	"Meadowbrook Hospital",
	"Cedar Point Health",
	"Silverlake Institute",
	"Ashford General",
	"Coral Bay Hospital",
	"Fernhill Clinic",
	"Kingsbridge Infirmary",
	"Summit Research Hospital",
] as const;

/** Name of the organization at an index, 0 to 19, and its form for file names. */
export function organizationName(index: number): { name: string; slug: string } {
	const name = NAMES[index];
	if (name === undefined) throw new RangeError(`There are names for ${NAMES.length} organizations.`);
	return { name, slug: name.toLowerCase().replace(/[^a-z]+/g, "-") };
}
